"""What lies in a bucket: a dataset by its manifest, its parts and raw files fetched into the store."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

from sgpo_data.buckets.client import bucket_faults, bucket_files
from sgpo_data.errors import DatasetError, StorageError
from sgpo_data.names import BucketPlace
from sgpo_data.store.dataset import WORK, Dataset, manifest_of, open_dataset
from sgpo_data.store.fetching import fetch_files, fetched, fetched_before, put_verified
from sgpo_data.store.files import disk_error, file_digest, put_in_place, write_text
from sgpo_data.store.lock import PLAN
from sgpo_data.store.manifest import MANIFEST, FileRecord, Manifest

log = logging.getLogger(__name__)

CLAIM = f"{WORK}/{PLAN}"
"""Lies beside the parts until the manifest does."""


@dataclass(frozen=True)
class BucketManifest:
    """The manifest of a dataset as it was when it was looked for; it names its parts by their digests, so it stands for all of the dataset."""

    place: BucketPlace
    content: bytes
    manifest: Manifest

    @property
    def name(self) -> str:
        """Of the folder that the dataset is fetched into."""
        return f"bucket@{self.manifest.fingerprint[:8]}-{hashlib.sha256(str(self.place).encode() + self.content).hexdigest()[:8]}"


def found(place: BucketPlace) -> BucketManifest | None:
    """The dataset at this place; None if there is none.

    Raises DatasetError if it was never finished, StorageError if the bucket cannot be asked.
    """
    there = manifest_at(place)
    with bucket_faults(place):
        if there is None and place.path and bucket_files().exists(str(place.file(CLAIM))):
            raise DatasetError(f"{place}: no {MANIFEST}, so this dataset was never finished; run its stage again")
    return there


def manifest_at(place: BucketPlace) -> BucketManifest | None:
    """As `found`, but nothing is said of one that was never finished."""
    with bucket_faults(place):
        try:
            content = bucket_files().cat_file(str(place.file(MANIFEST)))
        except FileNotFoundError:
            return None
    return BucketManifest(place, content, manifest_of(content, str(place)))


def in_store(there: BucketManifest, store: Path) -> Dataset | None:
    """The dataset if it is here already: made here, or fetched before."""
    made = store / str(there.manifest.made_name)
    if (made / MANIFEST).is_file() and (made / MANIFEST).read_bytes() == there.content:
        return replace(open_dataset(made), place=str(there.place))
    return fetched_before(store / there.name, str(there.place))


def fetch(there: BucketManifest, store: Path) -> Dataset:
    """The dataset in the store, fetched now as far as it is not there.

    Raises DatasetError if a part is gone, StorageError if the bucket fails for too long or what comes is not what the manifest says.
    """
    folder = store / there.name
    records = {record.name: record for record in there.manifest.files}

    def fetch_file(name: str) -> None:
        if name == MANIFEST:
            write_text(folder / MANIFEST, there.content.decode())
            return
        fetched_part(there.place, records[name], folder / name)

    def fetch_all() -> None:
        log.info("%s: fetching %d rows of %s in %d files", there.place, there.manifest.rows, there.manifest.table, len(records))
        fetch_files(list(records), fetch_file)

    return fetched(folder, str(there.place), fetch_all)


def fetched_part(place: BucketPlace, record: FileRecord, into: Path) -> None:
    """A part of the dataset at this place, put in `into` once it is what the manifest says.

    Raises StorageError if the bucket fails for too long, or if it comes damaged twice.
    """
    at, aside = place.file(record.name), into.parent / WORK / record.name
    damaged = StorageError(f"{at}: is not what {MANIFEST} says it is; put it there again, or run the same command again if it is being replaced")
    put_verified(into, download=lambda: _download(at, aside), holds=lambda path: file_digest(path) == record.sha256, damaged=damaged)


def sizes(place: BucketPlace) -> dict[str, tuple[int, str]]:
    """Size and ETag of each file below this place by its name there, or by no name of the one at this place; empty if nothing is.

    Raises StorageError if the bucket cannot be asked.
    """
    with bucket_faults(place):
        entries = bucket_files().find(str(place), detail=True)
    prefix = f"{place.bucket}/{place.path}".rstrip("/")
    # An empty object with the name of a folder is how consoles make one.
    files = {path.removeprefix(prefix).lstrip("/"): entry for path, entry in entries.items() if entry["type"] == "file" and not path.endswith("/")}
    return {name: (int(entry["size"]), str(entry.get("ETag", ""))) for name, entry in files.items()}


def fetched_files(place: BucketPlace, store: Path, wanted: Callable[[str], bool]) -> Path | None:
    """The one file at this place, or the folder of the files below it that are wanted, in the store as they are now; None if there is none.

    Raises StorageError if the bucket fails for too long.
    """
    there = {name: stamp for name, stamp in sizes(place).items() if wanted(name or place.name)}
    if not there:
        return None
    digest = hashlib.sha256(repr((str(place), sorted(there.items()))).encode()).hexdigest()
    folder = store / f"raw@{digest[:16]}"
    into = {name: folder / (name or place.name) for name in there}
    missing = [name for name, path in into.items() if not path.is_file() or path.stat().st_size != there[name][0]]
    if missing:
        log.info("%s: fetching %d files, %.1f MB", place, len(missing), sum(there[name][0] for name in missing) / 1e6)
    for name in missing:
        try:
            into[name].parent.mkdir(parents=True, exist_ok=True)
            # Two processes may fetch the same: both put the same in its place.
            aside = Path(mkdtemp(prefix=".fetching-", dir=folder)) / "file"
        except OSError as error:
            raise disk_error(folder, error) from error
        put_in_place(_download(place.file(name) if name else place, aside), into[name])
        aside.parent.rmdir()
    return folder / place.name if "" in there else folder


def _download(place: BucketPlace, aside: Path) -> Path:
    aside.parent.mkdir(parents=True, exist_ok=True)
    with bucket_faults(place):
        bucket_files().get_file(str(place), str(aside))
    return aside
