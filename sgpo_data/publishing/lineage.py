"""What datasets were made from: the manifests of all that came before them, as far as they are still at hand."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sgpo_data.errors import DatasetError, ModelError
from sgpo_data.names import AdaptedModel, EndpointModel, HubModel, HubRows, ModelPlace, TrainedModel, WholeModel, hub_place
from sgpo_data.references.model import model_manifest
from sgpo_data.store.dataset import Dataset, open_dataset
from sgpo_data.store.manifest import Identity, InputRecord, Manifest, ModelManifest, ModelRecord


class Lineage(BaseModel):
    """Manifests by the order in which they are found, from the datasets back to their sources; each once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    datasets: tuple[Manifest, ...]
    """Those asked about are not among them."""
    models: tuple[ModelManifest, ...]
    """Of trainings; foreign models are named in the manifests that used them."""
    gone: tuple[InputRecord, ...]
    """Datasets that were used and are not at hand any more."""

    def without_places(self) -> "Lineage":
        """The same without the folders of this machine, for others to read."""
        models = tuple(map(model_without_places, self.models))
        return Lineage(datasets=tuple(map(without_places, self.datasets)), models=models, gone=tuple(map(_named_input, self.gone)))


def lineage(of: Sequence[Dataset], root: Path) -> Lineage:
    """What these datasets were made from: looked for where their manifests say, beside the one made of them, and in the store of the root."""
    walk = _Walk(root, seen={dataset.manifest.fingerprint for dataset in of})
    for dataset in of:
        walk.follow(dataset.manifest.identity, dataset.folder.parent)
    return Lineage(datasets=tuple(walk.datasets), models=tuple(walk.models), gone=tuple(walk.gone))


def without_places(record: Manifest) -> Manifest:
    """The same manifest without the folders of this machine, for others to read; the fingerprint does not count them."""
    return record.model_copy(update=_placeless_update(record))


def model_without_places(record: ModelManifest) -> ModelManifest:
    """The same for the manifest of a model."""
    return record.model_copy(update=_placeless_update(record))


class _Walk:
    def __init__(self, root: Path, seen: set[str]) -> None:
        self.store = root / "store"
        self.seen = seen
        self.datasets: list[Manifest] = []
        self.models: list[ModelManifest] = []
        self.gone: list[InputRecord] = []

    def follow(self, identity: Identity, beside: Path) -> None:
        """Looks for all that this was made from, where it lies in the folder `beside`."""
        for record in identity.inputs:
            if record.table is not None and record.fingerprint not in self.seen:
                self.seen.add(record.fingerprint)
                self._input(record, beside)
        for model in identity.models.values():
            self._model(model)

    def _input(self, record: InputRecord, beside: Path) -> None:
        # A reference is as it was given, and may have been given in another folder.
        given = Path(record.reference)
        for folder in (given, beside / given.name, self.store / str(record.made_name)):
            manifest = _manifest(folder)
            if manifest is not None and manifest.fingerprint == record.fingerprint:
                self.datasets.append(manifest)
                self.follow(manifest.identity, folder.parent)
                return
        self.gone.append(record)

    def _model(self, record: ModelRecord) -> None:
        model = record.kind
        if not isinstance(model, TrainedModel) or record.identity in self.seen:
            return
        self.seen.add(record.identity)
        for folder in (Path(record.location), self.store / str(model.name)):
            manifest = _model_manifest(folder)
            if manifest is not None and TrainedModel.made(manifest.fingerprint) == model:
                self.models.append(manifest)
                self.follow(manifest.identity, folder.parent)
                return


def _manifest(folder: Path) -> Manifest | None:
    try:
        return open_dataset(folder).manifest
    except DatasetError:
        return None


def _model_manifest(folder: Path) -> ModelManifest | None:
    try:
        return model_manifest(folder)
    except ModelError:
        return None


def _placeless_update(record: Manifest | ModelManifest) -> dict[str, object]:
    identity = record.identity
    models = {role: _named(model) for role, model in identity.models.items()}
    named = identity.model_copy(update={"inputs": tuple(map(_named_input, identity.inputs)), "models": models})
    return {"identity": named, "origin": record.origin and _named(record.origin)}


def _named_input(record: InputRecord) -> InputRecord:
    on_hub = hub_place(record.reference) is not None or HubRows.parsed(record.fingerprint) is not None
    return record if on_hub else record.model_copy(update={"reference": Path(record.reference).name})


def _named(record: ModelRecord) -> ModelRecord:
    model, place = record.kind, record.place
    if isinstance(model, AdaptedModel):
        named = ModelPlace(_shared_place(model.base, place.base), _shared_place(model.adapter, place.adapter or ""))
    else:
        named = ModelPlace(_shared_place(model, place.base))
    return record.model_copy(update={"location": str(named)})


def _shared_place(model: WholeModel | None, place: str) -> str:
    """As others can find it; of a folder of this machine, its name."""
    return place if isinstance(model, HubModel | EndpointModel) else Path(place).name
