"""A dataset in a bucket that is read where it lies."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sgpo_data.buckets.client import bucket_faults, bucket_files, passing
from sgpo_data.buckets.fetch import BucketManifest, fetched_part, sizes
from sgpo_data.errors import DatasetError, StorageError
from sgpo_data.names import BucketPlace
from sgpo_data.store.manifest import MANIFEST, FileRecord
from sgpo_data.store.streamed import StreamedDataset

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


@dataclass(frozen=True)
class BucketDataset(StreamedDataset):
    """A finished table in a bucket."""

    at: BucketPlace
    failure = StorageError

    @property
    def place(self) -> str:
        """Where it lies."""
        return str(self.at)

    @property
    def system(self) -> "AbstractFileSystem":
        """That of buckets."""
        return bucket_files()

    def path_of(self, name: str) -> str:
        """Bucket and key."""
        at = self.at.file(name)
        return f"{at.bucket}/{at.path}"

    def fetch(self, record: FileRecord, into: Path) -> None:
        """As a dataset that is fetched whole."""
        fetched_part(self.at, record, into)

    def faults(self) -> AbstractContextManager[None]:
        """Those of this place."""
        return bucket_faults(self.at)

    def passing(self, error: BaseException) -> bool:
        """Whether the bucket or the network failed."""
        return passing(error)


def streamed(there: BucketManifest) -> BucketDataset:
    """The dataset of this manifest.

    Raises DatasetError if a part is gone or of another size than the manifest says, StorageError if the bucket cannot be asked.
    """
    present = sizes(there.place)
    for record in there.manifest.files:
        if record.name not in present:
            raise DatasetError(f"{there.place}: {record.name} is gone; copy it back, or remove what is there and run its stage again")
        if present[record.name][0] != record.bytes:
            raise DatasetError(f"{there.place}: {record.name} has {present[record.name][0]} bytes, {MANIFEST} says {record.bytes}; copy it there again")
    return BucketDataset(there.manifest, there.place)
