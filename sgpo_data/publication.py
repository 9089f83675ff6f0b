"""A publication: the files of one version, their bytes and digests, and the id they come to."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sgpo_data.dataset import Dataset, faults
from sgpo_data.dataset_card import CardFacts, Config, dataset_card
from sgpo_data.errors import DatasetError, UsageError
from sgpo_data.hub_repository import Digest, git_oid
from sgpo_data.lineage import lineage, without_places
from sgpo_data.manifest import MANIFEST

OWN = "sgpo"
"""Folder of what is about the version as a whole."""
RECORD = f"{OWN}/publication.json"
LINEAGE = f"{OWN}/lineage.json"
RECIPE = f"{OWN}/recipe.toml"
CARD = "README.md"


class PublishedConfig(BaseModel):
    """A dataset of the version; its manifest lies beside its parts, so its folder is a dataset too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    table: str
    fingerprint: str
    rows: int


class PublicationRecord(BaseModel):
    """What stands in sgpo/publication.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    configs: tuple[PublishedConfig, ...]
    """The first is loaded when none is named."""
    files: tuple[str, ...]
    """All that was published, so that the next version takes away what is not its own."""


@dataclass(frozen=True)
class PublishedFile:
    """A file of the version: where it goes, what it is, and what to know it by."""

    path: str
    content: Path | bytes
    """As the Hub's client takes it: a part as it lies on the disk, or the bytes of a text."""
    size: int
    sha256: str

    def is_there(self, digest: Digest | None) -> bool:
        """Whether the Hub has it, by what it says it has at this path."""
        if digest is None or digest.size != self.size:
            return False
        if digest.sha256 is not None:
            return digest.sha256 == self.sha256
        return digest.oid == git_oid(self.content if isinstance(self.content, bytes) else self.content.read_bytes())


@dataclass(frozen=True)
class Publication:
    """One version of a dataset repository. The same datasets under the same tag are the same publication, byte by byte."""

    repository: str
    tag: str
    files: tuple[PublishedFile, ...]

    @cached_property
    def id(self) -> str:
        """SHA-256, in hex, over the tag and all files; stands in the commit, so that it is known again after a lost answer or a kill."""
        lines = [self.tag, *sorted(f"{file.path}\0{file.size}\0{file.sha256}" for file in self.files)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.size for file in self.files)


def publication(configs: Sequence[Config], repository: str, *, tag: str, license: str | None, root: Path, recipe: Path | None = None) -> Publication:
    """These datasets as a version, checked file by file.

    Raises DatasetError if one is not whole or has no rows, UsageError if two would have one name.
    """
    _check(configs)
    public = lineage([config.dataset for config in configs], root).without_places()
    card = dataset_card(CardFacts(repository, tag, tuple(configs), public, license, recipe))
    files = [file for config in configs for file in _dataset_files(config)]
    files += [_text(CARD, card), _text(LINEAGE, public.model_dump_json(indent=2))]
    if recipe is not None:
        files.append(_text(RECIPE, recipe.read_text(encoding="utf-8")))
    published = tuple(
        PublishedConfig(name=each.name, table=each.dataset.table, fingerprint=each.dataset.manifest.fingerprint, rows=each.dataset.manifest.rows)
        for each in configs
    )
    record = PublicationRecord(version=tag, configs=published, files=(*sorted(file.path for file in files), RECORD))
    return Publication(repository, tag, (*files, _text(RECORD, record.model_dump_json(indent=2))))


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


def _dataset_files(config: Config) -> list[PublishedFile]:
    manifest = config.dataset.manifest
    records = zip(config.dataset.paths, manifest.files, strict=True)
    parts = [PublishedFile(f"{config.name}/{record.name}", path, record.bytes, record.sha256) for path, record in records]
    return [*parts, _text(f"{config.name}/{MANIFEST}", without_places(manifest).model_dump_json(indent=2))]


def _text(path: str, text: str) -> PublishedFile:
    content = text.encode()
    return PublishedFile(path, content, len(content), hashlib.sha256(content).hexdigest())
