"""A publication: the files of one version, their bytes and digests, and the id they come to."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sgpo_data.errors import DatasetError, ModelError, UsageError
from sgpo_data.evaluation.summary import EvaluationSummary
from sgpo_data.evaluation.votes import PEOPLE
from sgpo_data.hub.client import Kind
from sgpo_data.hub.commit import Contribution, HubFile, files_id, text_file
from sgpo_data.hub.repository import HubRepository
from sgpo_data.hub.version import OWN, RECORD, PublicationRecord, PublishedConfig
from sgpo_data.publishing.card import CARD, CardFacts, Config, dataset_card, inherited_license
from sgpo_data.publishing.card_text import evaluation_section
from sgpo_data.publishing.lineage import Lineage, lineage, model_without_places, without_places
from sgpo_data.publishing.secret_scan import refuse_secrets
from sgpo_data.references.model import content_digest, model_manifest
from sgpo_data.store.dataset import Dataset, faults
from sgpo_data.store.files import file_digest
from sgpo_data.store.manifest import MANIFEST

log = logging.getLogger(__name__)

LINEAGE = f"{OWN}/lineage.json"
RECIPE = f"{OWN}/recipe.toml"


@dataclass(frozen=True)
class Publication:
    """One version of a repository. The same datasets or model under the same tag are the same publication, byte by byte."""

    repository: str
    tag: str
    files: tuple[HubFile, ...]
    kind: Kind = "dataset"

    @cached_property
    def id(self) -> str:
        """SHA-256, in hex, over the tag and all files; stands in the commit, so that it is known again after a lost answer or a kill."""
        return files_id(self.tag, self.files)

    def contribution(self, notes: tuple[str, ...] = ()) -> Contribution:
        """Its files, as they go to a branch."""
        return Contribution(HubRepository(self.repository, self.kind), self.files, self.id, f"Publish {self.tag}", notes)

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.size for file in self.files)


def publication(
    configs: Sequence[Config],
    repository: str,
    *,
    tag: str,
    license: str | None,
    root: Path,
    recipe: Path | None = None,
    evaluation: EvaluationSummary | None = None,
    allow_secrets: bool = False,
) -> Publication:
    """These datasets as a version, checked file by file.

    Raises DatasetError if one is not whole or has no rows, UsageError if two would have one name, GateError if a text looks like a secret.
    """
    _check(configs)
    made_of = lineage([config.dataset for config in configs], root)
    for reference in _left_votes(configs, made_of):
        log.warning("%s: votes of people, which nothing makes again; for a version that can be made again, publish them too: votes=%s", reference, reference)
    public = made_of.without_places()
    stated = license or inherited_license(public)
    card = dataset_card(CardFacts(repository, tag, tuple(configs), public, stated, recipe, evaluation))
    files = [file for config in configs for file in dataset_files(config.dataset, config.name)]
    files += [text_file(CARD, card), text_file(LINEAGE, public.model_dump_json(indent=2))]
    if recipe is not None:
        files.append(text_file(RECIPE, recipe.read_text(encoding="utf-8")))
    if not allow_secrets:
        refuse_secrets([config.dataset for config in configs], files)
    published = tuple(
        PublishedConfig(name=each.name, table=each.dataset.table, fingerprint=each.dataset.manifest.fingerprint, rows=each.dataset.manifest.rows)
        for each in configs
    )
    record = PublicationRecord(version=tag, configs=published, files=(*sorted(file.path for file in files), RECORD))
    return Publication(repository, tag, (*files, text_file(RECORD, record.model_dump_json(indent=2))))


def _left_votes(configs: Sequence[Config], made_of: Lineage) -> list[str]:
    """Votes that decided what is published and are not published themselves."""
    votes = {each.fingerprint for each in made_of.datasets if each.identity.stage == PEOPLE}
    readers = (*made_of.datasets, *(config.dataset.manifest for config in configs))
    return list(dict.fromkeys(record.reference for each in readers for record in each.identity.inputs if record.fingerprint in votes))


def _check(configs: Sequence[Config]) -> None:
    names: dict[str, Dataset] = {}
    for config in configs:
        if config.name in names:
            raise UsageError(f"{config.name}: both {names[config.name].folder} and {config.dataset.folder} would be this config; name one: NAME=REF")
        if config.name.lower() == OWN:
            raise UsageError(f"{config.name}: is the folder of what is about the whole version; give the config another name")
        names[config.name] = config.dataset
        if not config.dataset.manifest.rows:
            raise DatasetError(f"{config.dataset.folder}: has no rows, so there is nothing to load; leave it out")
        broken = faults(config.dataset)
        if broken:
            raise DatasetError(broken[0])


def dataset_files(dataset: Dataset, folder: str) -> list[HubFile]:
    """The parts and the manifest of a dataset, for a folder of a repository; places of this machine are left out of the manifest."""
    manifest, prefix = dataset.manifest, f"{folder}/" if folder else ""
    records = zip(dataset.paths, manifest.files, strict=True)
    parts = [HubFile(f"{prefix}{record.name}", path, record.bytes, record.sha256) for path, record in records]
    return [*parts, text_file(f"{prefix}{MANIFEST}", without_places(manifest).model_dump_json(indent=2))]


def model_publication(
    folder: Path,
    repository: str,
    *,
    tag: str,
    license: str | None,
    evaluations: Sequence[EvaluationSummary] = (),
    allow_secrets: bool = False,
) -> Publication:
    """The model in this folder as a version; its card tells its evaluations.

    Raises DatasetError if it was not trained here or its weights have changed since, GateError if its card or settings hold what looks like a secret.
    """
    manifest = model_manifest(folder)
    if manifest is None:
        raise ModelError(f"{folder}: no {MANIFEST}, so no training of ours made this model; only those are published")
    if content_digest(folder) != manifest.weights:
        raise ModelError(f"{folder}: the weights have changed since they were trained; copy them back, or train again")
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _hidden(path.relative_to(folder))]
    files = [_file(path, path.relative_to(folder).as_posix()) for path in paths if path.name not in (MANIFEST, CARD)]
    files += [text_file(MANIFEST, model_without_places(manifest).model_dump_json(indent=2)), text_file(CARD, _card(folder, license, evaluations))]
    if not allow_secrets:
        refuse_secrets([], files)
    record = PublicationRecord(version=tag, configs=(), files=(*sorted(file.path for file in files), RECORD))
    return Publication(repository, tag, (*files, text_file(RECORD, record.model_dump_json(indent=2))), "model")


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _file(path: Path, name: str) -> HubFile:
    return HubFile(name, path, path.stat().st_size, file_digest(path))


def _card(folder: Path, license: str | None, evaluations: Sequence[EvaluationSummary]) -> str:
    """The card that training wrote, with the licence that is given and what was found of the model."""
    from huggingface_hub import ModelCard

    card = ModelCard((folder / CARD).read_text(encoding="utf-8"))
    if license is not None:
        card.data["license"] = license
    told = [line for found in evaluations for line in evaluation_section(found, "Of this model")]
    return f"{card}\n" + "\n".join(told) if told else str(card)
