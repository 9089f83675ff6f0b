"""What datasets were made from: the manifests of all that came before them, as far as they are still at hand."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sgpo_data.dataset import Dataset, open_dataset
from sgpo_data.errors import DatasetError
from sgpo_data.manifest import Identity, InputRecord, Manifest, ModelManifest, ModelRecord
from sgpo_data.model import model_manifest, trained_identity


class Lineage(BaseModel):
    """Manifests by the order in which they are found, from the datasets back to their sources; each once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    datasets: tuple[Manifest, ...]
    """Those asked about are not among them."""
    models: tuple[ModelManifest, ...]
    """Of trainings; foreign models are named in the manifests that used them."""
    gone: tuple[InputRecord, ...]
    """Datasets that were used and are not at hand any more."""


def lineage(of: Sequence[Dataset], root: Path) -> Lineage:
    """What these datasets were made from: looked for where their manifests say, then in the store of the root."""
    walk = _Walk(root, seen={dataset.manifest.fingerprint for dataset in of})
    for dataset in of:
        walk.follow(dataset.manifest.identity)
    return Lineage(datasets=tuple(walk.datasets), models=tuple(walk.models), gone=tuple(walk.gone))


def without_places(record: Manifest) -> Manifest:
    """The same manifest without the folders of this machine, for others to read; the fingerprint does not count them."""
    return record.model_copy(update={"identity": _placeless(record.identity), "origin": record.origin and _named(record.origin)})


def model_without_places(record: ModelManifest) -> ModelManifest:
    """The same for the manifest of a model."""
    return record.model_copy(update={"identity": _placeless(record.identity), "origin": record.origin and _named(record.origin)})


class _Walk:
    def __init__(self, root: Path, seen: set[str]) -> None:
        self.store = root / "store"
        self.seen = seen
        self.datasets: list[Manifest] = []
        self.models: list[ModelManifest] = []
        self.gone: list[InputRecord] = []

    def follow(self, identity: Identity) -> None:
        for record in identity.inputs:
            if record.table is not None and record.fingerprint not in self.seen:
                self.seen.add(record.fingerprint)
                self._input(record)
        for model in identity.models.values():
            self._model(model)

    def _input(self, record: InputRecord) -> None:
        for folder in (Path(record.reference), self.store / f"{record.table}@{record.fingerprint[:8]}"):
            manifest = _manifest(folder)
            if manifest is not None and manifest.fingerprint == record.fingerprint:
                self.datasets.append(manifest)
                self.follow(manifest.identity)
                return
        self.gone.append(record)

    def _model(self, record: ModelRecord) -> None:
        if not record.identity.startswith("train:") or record.identity in self.seen:
            return
        self.seen.add(record.identity)
        for folder in (Path(record.location), self.store / f"model@{record.identity.removeprefix('train:')[:8]}"):
            manifest = _model_manifest(folder)
            if manifest is not None and trained_identity(manifest.fingerprint) == record.identity:
                self.models.append(manifest)
                self.follow(manifest.identity)
                return


def _manifest(folder: Path) -> Manifest | None:
    try:
        return open_dataset(folder).manifest
    except DatasetError:
        return None


def _model_manifest(folder: Path) -> ModelManifest | None:
    try:
        return model_manifest(folder)
    except DatasetError:
        return None


def _placeless(identity: Identity) -> Identity:
    inputs = tuple(record if _on_hub(record) else record.model_copy(update={"reference": Path(record.reference).name}) for record in identity.inputs)
    return identity.model_copy(update={"inputs": inputs, "models": {role: _named(record) for role, record in identity.models.items()}})


def _on_hub(record: InputRecord) -> bool:
    return record.reference.startswith("hf://") or record.fingerprint.startswith("hub:")


def _named(record: ModelRecord) -> ModelRecord:
    if record.identity.startswith("endpoint:"):
        return record
    # A model and its adapter, each with an identity of its own.
    places = zip(record.identity.split("+"), record.location.split("+"), strict=False)
    return record.model_copy(update={"location": "+".join(place if identity.startswith("hub:") else Path(place).name for identity, place in places)})
