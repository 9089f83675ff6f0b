"""A dataset on the Hub that is read where it lies, at its commit."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sgpo_data.errors import HubError
from sgpo_data.hub.client import api, hub_faults, passing, status
from sgpo_data.hub.fetch import fetched_file, remote_manifest
from sgpo_data.hub.repository import Digest, HubRepository
from sgpo_data.names import HubPlace
from sgpo_data.store.manifest import FileRecord
from sgpo_data.store.streamed import StreamedDataset

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


@dataclass(frozen=True)
class HubDataset(StreamedDataset):
    """A finished table on the Hub."""

    at: HubPlace
    failure = HubError

    @property
    def place(self) -> str:
        """Where it lies, at its commit."""
        return str(self.at)

    @property
    def system(self) -> "AbstractFileSystem":
        """The Hub's."""
        from huggingface_hub import HfFileSystem

        return HfFileSystem(endpoint=api().endpoint)

    def path_of(self, name: str) -> str:
        """The commit stands in each path: a branch is no snapshot, two reads of one file could come from two commits."""
        return f"{replace(self.at, path='').address}/{self.at.file(name)}"

    def fetch(self, record: FileRecord, into: Path) -> None:
        """As a dataset that is fetched whole."""
        fetched_file(self.at.folder(record.name), Digest(record.bytes, record.sha256, ""), into)

    def faults(self) -> AbstractContextManager[None]:
        """Those of the Hub."""
        return hub_faults(self.at.repository, self.at.revision)

    def passing(self, error: BaseException) -> bool:
        """Whether the Hub or the network failed."""
        return status(error) is not None or passing(error)


def streamed(place: HubPlace) -> HubDataset:
    """The dataset at this place, whose revision is a commit.

    Raises DatasetError if there is none, HubError if the Hub cannot be asked.
    """
    assert place.revision is not None
    manifest = remote_manifest(place, HubRepository(place.repository).files(place.revision))
    return HubDataset(manifest, place)
