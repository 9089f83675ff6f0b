"""A model reference: found, identified, and checked against what the rows say."""

import hashlib
import json
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from socket import gethostname

from pydantic import ValidationError

from sgpo_data.errors import HubError, ModelError
from sgpo_data.hub.client import again, hub_faults
from sgpo_data.hub.repository import HubRepository
from sgpo_data.names import AdaptedModel, EndpointModel, FolderModel, HubModel, ModelPlace, TrainedModel, WholeModel, endpoint_name, split_revision
from sgpo_data.paths import bracketed, local_path, nearby
from sgpo_data.store.dataset import WORK
from sgpo_data.store.files import file_digest
from sgpo_data.store.manifest import MANIFEST, ModelManifest, ModelRecord
from sgpo_data.store.pointers import pointer_fault

COUNTED = (".safetensors", ".bin", ".json", ".jinja", ".txt", ".model")
CONFIGS = ("config.json", "adapter_config.json")
# Written by training beside the model, not part of it.
NOT_COUNTED = ("training_args.bin", "trainer_state.json", "manifest.json")


@dataclass(frozen=True)
class Model:
    """A model folder on this machine, an adapter over it if there is one, and what its rows will name it by."""

    folder: Path
    adapter: Path | None
    record: ModelRecord
    origin: ModelRecord
    """The model this one's lineage began with; itself if it was not trained on rows of another."""
    config: Path
    """Folder of the config.json that tells its type and context: its own or, before it is trained, that of the model it starts from."""
    endpoint: str | None = None
    """Its name at a server; then there are no folders."""

    def located(self) -> "Model":
        """The same model with folders that mean the same in every folder."""
        if self.endpoint is not None:
            return self
        adapter = None if self.adapter is None else self.adapter.absolute()
        return replace(self, folder=self.folder.absolute(), adapter=adapter, config=self.config.absolute())

    def found(self) -> "Model":
        """The same model on a machine that may be another than the one that found it; one of the Hub is fetched there.

        Raises ModelError if it is not there, HubError if the Hub cannot be asked.
        """
        if self.endpoint is not None or all(folder.is_dir() for folder in (self.folder, self.adapter) if folder is not None):
            return self
        place = self.record.place
        try:
            found = find_model(place.base, place.adapter)
        except ModelError as error:
            raise ModelError(f"{error}; this machine, {gethostname()}, needs it at the same path as the one of the command, or one of the Hub") from error
        if found.record.identity != self.record.identity:
            raise ModelError(f"{place.base}: is {found.record.identity} on {gethostname()}, and {self.record.identity} on the machine of the command")
        return replace(self, folder=found.folder, adapter=found.adapter, config=found.config)


def find_model(reference: str, adapter: str | None = None) -> Model:
    """The model of a folder or of `org/name@revision` on the Hub, with its adapter.

    A Hub revision is resolved to its commit first; a folder is known by its content, one that was trained here by its fingerprint.
    Raises ModelError if there is no such model, if its training was never finished, or if its weights are not those that were trained;
    HubError if the Hub cannot be asked. `openai:NAME` is a model at a server, of which nothing but the name is known.
    """
    if (endpoint := endpoint_name(reference)) is not None:
        if adapter is not None:
            raise ModelError(f"{adapter}: an adapter cannot be given to a server; have the server load it under a name of its own")
        record = ModelRecord(identity=str(EndpointModel(endpoint)), location=reference, verifiable=False)
        return Model(Path(), None, record, record, config=Path(), endpoint=endpoint)
    folder, identity, location = _located(reference)
    if adapter is None:
        record = ModelRecord(identity=str(identity), location=location)
        manifest = model_manifest(folder)
        return Model(folder, None, record, record if manifest is None else manifest.origin or record, config=folder)
    adapter_folder, adapter_identity, adapter_location = _located(adapter)
    record = ModelRecord(identity=str(AdaptedModel(identity, adapter_identity)), location=str(ModelPlace(location, adapter_location)))
    return Model(folder, adapter_folder, record, record, config=folder)


def missing_model(reference: str) -> str | None:
    """What to say of a folder that is not there; None of one that is, and of what is on the Hub or at a server."""
    folder, (name, _) = local_path(reference), split_revision(reference)
    elsewhere = endpoint_name(reference) is not None or (name.count("/") == 1 and not reference.startswith(("/", ".", "~")))
    if elsewhere or folder.is_dir():
        return None
    return f"{reference}: no such model folder; {nearby(folder, _has_config) or 'give a folder or a Hub model as org/name@revision'}"


def model_folder(reference: str, root: Path) -> Path | None:
    """The folder of a model that the reference names, here or in the root; None if it names something else or nothing."""
    for folder in (local_path(reference), local_path(root / reference)):
        path = folder / MANIFEST
        found = _keys(path.read_bytes()) if path.is_file() else set()
        foreign = "fingerprint" not in found and _has_config(folder)
        if "weights" in found or (foreign and not (folder / WORK).is_dir()):
            return folder
    return None


def model_manifest(folder: Path) -> ModelManifest | None:
    """The record of the training that made this folder, None if it was not made here.

    Raises ModelError if the training was never finished, or if the folder holds a dataset.
    """
    path = folder / MANIFEST
    if not path.is_file():
        if (folder / WORK).is_dir():
            raise ModelError(f"{folder}: no {MANIFEST}, so its training was never finished; run the same sgpo train again")
        return None
    content = path.read_bytes()
    try:
        return ModelManifest.model_validate_json(content)
    except ValidationError as error:
        found = _keys(content)
        if "table" in found:
            raise ModelError(f"{folder}: holds a dataset, not a model; give a model folder or a Hub model as org/name@revision") from error
        if "fingerprint" not in found:
            return None
        raise ModelError(f"{path}: not a manifest of this version ({error.error_count()} faults, the first: {error.errors()[0]['msg']})") from error


def weights_faults(folder: Path) -> list[str]:
    """What is broken in the weights of a model, as far as the heads of its files tell; nothing where safetensors is not installed."""
    if find_spec("safetensors") is None:
        return []
    from safetensors import SafetensorError, safe_open

    found = []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "np"):
                pass
        except (SafetensorError, OSError) as error:
            found.append(f"{path}: cannot be read ({error}); copy or download it again")
    return found


def content_digest(folder: Path) -> str:
    """First 32 hex digits of the SHA-256 over names and contents of what makes the model: weights, configuration, tokenizer, template."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in COUNTED and path.name not in NOT_COUNTED)
    if not any(path.name in CONFIGS for path in files):
        raise ModelError(f"{folder}: no config.json, so this is no model folder")
    whole = hashlib.sha256()
    for path in files:
        if fault := pointer_fault(path):
            raise ModelError(f"{path}: {fault}")
        whole.update(f"{path.name}\0{file_digest(path)}\n".encode())
    return whole.hexdigest()[:32]


def recorded_model(record: ModelRecord, *, flag: str) -> Model:
    """The model of a manifest, if it still is what it was.

    Raises ModelError if it is gone or has changed.
    """
    try:
        model = find_model(record.place.base, record.place.adapter)
    except ModelError as error:
        raise ModelError(f"{error}; the input was made with it: give its new place with {flag}") from error
    if model.record.identity != record.identity:
        raise ModelError(f"{record.location}: is {model.record.identity} now, the input was made with {record.identity}; name the model to use with {flag}")
    return model


def _located(reference: str) -> tuple[Path, WholeModel, str]:
    folder = local_path(reference)
    if folder.is_dir():
        return folder, _folder_identity(folder), str(folder.resolve())
    if (fault := missing_model(reference)) is not None:
        raise ModelError(fault)
    return _from_hub(*split_revision(reference))


def _has_config(folder: Path) -> bool:
    return any((folder / name).is_file() for name in CONFIGS)


def _folder_identity(folder: Path) -> WholeModel:
    manifest = model_manifest(folder)
    digest = content_digest(folder)
    if manifest is None:
        return FolderModel(digest)
    if digest != manifest.weights:
        raise ModelError(
            f"{folder}: the weights have changed since they were trained, content {digest[:8]} in place of {manifest.weights[:8]}; "
            f"copy them back, or remove its {MANIFEST} to use them as a model of their own"
        )
    return TrainedModel.made(manifest.fingerprint)


def _keys(content: bytes) -> set[str]:
    try:
        found = json.loads(content)
    except ValueError:
        return set()
    return set(found) if isinstance(found, dict) else set()


def _from_hub(name: str, revision: str | None) -> tuple[Path, WholeModel, str]:
    from huggingface_hub import snapshot_download

    try:
        with hub_faults(name, revision, kind="model"):
            # Asked first, because the download alone would fall back on a stale cache without a word.
            commit = HubRepository(name, "model").commit(revision)
            folder = again(lambda: snapshot_download(name, revision=commit, ignore_patterns=["*.pth", "*.gguf", "*.onnx", "original/*"]))
    except ModelError as error:
        raise ModelError(f"{error}; and there is no folder {name}{bracketed(nearby(local_path(name), _has_config))}") from error
    except HubError as error:
        raise HubError(f"{error}; and there is no folder {name}{bracketed(nearby(local_path(name), _has_config))}, which would do without the Hub") from error
    # One that a training step of ours made is known by its fingerprint wherever it lies.
    hub = HubModel(name, commit)
    return Path(folder), hub if model_manifest(Path(folder)) is None else _folder_identity(Path(folder)), hub.place
