"""What a published version says of itself: its datasets by name, and all its files."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from sgpo_data.errors import DatasetError
from sgpo_data.hub.repository import Digest, HubRepository

OWN = "sgpo"
"""Folder of what is about the version as a whole."""
RECORD = f"{OWN}/publication.json"


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


def publication_record(hub: HubRepository, commit: str, files: Mapping[str, Digest]) -> PublicationRecord | None:
    """The record of the version at this commit, None if nothing was published there.

    Raises DatasetError if it is not of this version of sgpo-data.
    """
    if RECORD not in files:
        return None
    content = hub.small_file(commit, RECORD, files[RECORD])
    try:
        return PublicationRecord.model_validate_json(content)
    except ValidationError as error:
        raise DatasetError(f"{hub.name}@{commit[:8]}/{RECORD}: is no record of this version of sgpo-data") from error
