"""A trained model as a version: its folder as it lies, with its card and its manifest, in a model repository."""

from pathlib import Path

from sgpo_data.dataset_card import CARD
from sgpo_data.errors import DatasetError
from sgpo_data.hub_commit import HubFile, text_file
from sgpo_data.lineage import model_without_places
from sgpo_data.manifest import MANIFEST, file_digest
from sgpo_data.model import content_digest, model_manifest
from sgpo_data.publication import Publication
from sgpo_data.publication_record import RECORD, PublicationRecord
from sgpo_data.secret_scan import refuse_secrets


def model_publication(folder: Path, repository: str, *, tag: str, license: str | None, allow_secrets: bool = False) -> Publication:
    """The model in this folder as a version.

    Raises DatasetError if it was not trained here or its weights have changed since, GateError if its card or settings hold what looks like a secret.
    """
    manifest = model_manifest(folder)
    if manifest is None:
        raise DatasetError(f"{folder}: no {MANIFEST}, so no training of ours made this model; only those are published")
    if content_digest(folder) != manifest.weights:
        raise DatasetError(f"{folder}: the weights have changed since they were trained; copy them back, or train again")
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _hidden(path.relative_to(folder))]
    files = [_file(path, path.relative_to(folder).as_posix()) for path in paths if path.name not in (MANIFEST, CARD)]
    files += [text_file(MANIFEST, model_without_places(manifest).model_dump_json(indent=2)), text_file(CARD, _card(folder, license))]
    if not allow_secrets:
        refuse_secrets([], files)
    record = PublicationRecord(version=tag, configs=(), files=(*sorted(file.path for file in files), RECORD))
    return Publication(repository, tag, (*files, text_file(RECORD, record.model_dump_json(indent=2))), "model")


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _file(path: Path, name: str) -> HubFile:
    return HubFile(name, path, path.stat().st_size, file_digest(path))


def _card(folder: Path, license: str | None) -> str:
    """The card that training wrote, with the licence that is given."""
    from huggingface_hub import ModelCard

    card = ModelCard((folder / CARD).read_text(encoding="utf-8"))
    if license is not None:
        card.data["license"] = license
    return str(card)
