"""A dataset that is put into a bucket while it is made in a folder here: each part as it is finished, the manifest last."""

import logging
import os
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from sgpo_data.buckets.client import bucket_faults, bucket_files
from sgpo_data.buckets.fetch import CLAIM, BucketManifest, manifest_at, sizes
from sgpo_data.errors import DatasetError, SgpoError, StorageError, UsageError
from sgpo_data.names import BucketPlace
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.files import file_digest, write_text
from sgpo_data.store.lock import Intent, refuse_other
from sgpo_data.store.manifest import MANIFEST, Identity
from sgpo_data.waiting import wait_for

log = logging.getLogger(__name__)

UPLOADS = 4
"""Files on their way at once."""
LOOK_SECONDS = 1.0
"""Between two looks at what has been finished. Parts are written by threads, and by workers on other machines: what all of them leave is a file."""
PAUSE_SECONDS = 30.0
"""After a bucket that failed."""
PIECE_BYTES = 16 << 20
"""A file of more than two such pieces goes up in pieces, so that a connection that breaks off costs one of them, and memory holds few."""
DIGEST = "sha256"
"""Of the content, in what the bucket keeps about an object."""
PARTS = "part-*.parquet"


class Claim(Intent):
    """What a place is to become: lies there from before the first part until after the manifest."""

    by: str
    """Whose it is: the same command of the same root goes on, and nobody else writes there beside it."""


def claim(place: BucketPlace, identity: Identity, store: Path) -> BucketManifest | None:
    """Takes the place for this dataset, made in this store; the dataset if it is there already, whole.

    Raises DatasetError if something else is there, or is being made there; StorageError if the bucket cannot be asked.
    """
    if not place.path:
        raise UsageError(f"-o {place}: name a folder of the bucket too, as {place}/pairs")
    with bucket_faults(place):
        if (there := manifest_at(place)) is None:
            _take(place, Claim(identity=identity, by=_own_name(place, store)))
            # Another process may have finished it before the claim.
            there = manifest_at(place)
    if there is not None:
        refuse_other(str(place), there.manifest.identity, identity)
        _release(place, store)
    return there


def _take(place: BucketPlace, own: Claim) -> None:
    at = str(place.file(CLAIM))
    if not bucket_files().exists(at) and sizes(place):
        raise DatasetError(f"{place}: is not empty, and no dataset; give an empty or a new place for -o")
    with suppress(FileExistsError):
        bucket_files().pipe_file(at, own.model_dump_json(indent=2).encode(), mode="create")
    # Read again: it may have been there, and so may one that came while ours was on its way.
    try:
        there = Claim.model_validate_json(bucket_files().cat_file(at))
    except ValidationError as error:
        raise DatasetError(f"{at}: not a claim of this version; give another -o, or remove what is there") from error
    refuse_other(str(place), there.identity, own.identity)
    if there.by != own.by:
        raise DatasetError(f"{place}: is being made from another --root; run the command with that one, or if that is lost: aws s3 rm --recursive {place}")


@dataclass
class Upload:
    """The parts of one folder on their way to a place."""

    place: BucketPlace
    folder: Path
    present: Mapping[str, tuple[int, str]]
    """What was there when this began."""
    digests: dict[str, str] = field(default_factory=dict)
    """Of what was put there, or found there as it is."""

    def watch(self, ended: threading.Event) -> None:
        """Puts up each part as it is finished, until it is told to end; a bucket that fails is left alone for a while."""
        pause = LOOK_SECONDS
        while not ended.wait(pause):
            new = [path for path in sorted(self.folder.glob(PARTS)) if path.name not in self.digests]
            try:
                # As many at a time as are on their way at once, so that it ends when it is told to.
                for first in range(0, len(new), UPLOADS):
                    if not ended.is_set():
                        self.put(new[first : first + UPLOADS])
                pause = LOOK_SECONDS
            except (SgpoError, OSError) as error:
                log.warning("%s; what it did not take is put there in the end", error)
                pause = PAUSE_SECONDS

    def finish(self, dataset: Dataset) -> None:
        """Puts up what is missing of a dataset that is whole, and then its manifest.

        Raises StorageError if in the end other parts are there than were put.
        """
        expected = {record.name: record for record in dataset.manifest.files}
        self.put([dataset.folder / name for name, record in expected.items() if self.digests.get(name) != record.sha256])
        there = {name: size for name, (size, _) in sizes(self.place).items()}
        with bucket_faults(self.place):
            for name in there.keys() - expected.keys():
                if Path(name).match(PARTS):
                    # Of a session whose folder was lost, which had parts of another size.
                    bucket_files().rm_file(str(self.place.file(name)))
            wrong = [name for name, record in expected.items() if there.get(name) != record.bytes or self.digests.get(name) != record.sha256]
            if wrong:
                raise StorageError(f"{self.place}: {wrong[0]} is not there as it was put ({len(wrong)} parts); run the same command again")
            bucket_files().pipe_file(str(self.place.file(MANIFEST)), (dataset.folder / MANIFEST).read_bytes())

    def put(self, paths: list[Path]) -> None:
        """Puts up these parts, several at once, each unless it is there as it is."""
        with ThreadPoolExecutor(UPLOADS) as pool:
            for each in [pool.submit(self._put, path) for path in paths]:
                wait_for(each)

    def _put(self, path: Path) -> None:
        stamp, digest, at = _stamp(path), file_digest(path), str(self.place.file(path.name))
        with bucket_faults(self.place):
            if path.name not in self.present or self.present[path.name][0] != stamp[1] or _digest(at) != digest:
                try:
                    bucket_files().put_file(str(path), at, chunksize=PIECE_BYTES, Metadata={DIGEST: digest})
                except Exception:
                    # Where the answer to the last request of an upload in pieces is lost, that upload is unknown when it is asked for again.
                    if _digest(at) != digest:
                        raise
        if _stamp(path) == stamp:
            self.digests[path.name] = digest


def uploaded(place: BucketPlace, folder: Path, store: Path, make: Callable[[], Dataset]) -> Dataset:
    """The dataset that is made in this folder and put up meanwhile, part by part; the place is freed once all of it is there.

    Raises whatever making it raises, StorageError if the bucket fails for too long.
    """
    upload, ended = Upload(place, folder, sizes(place)), threading.Event()
    watcher = threading.Thread(target=upload.watch, args=(ended,), name="upload", daemon=True)
    watcher.start()
    try:
        dataset = make()
    finally:
        ended.set()
    while watcher.is_alive():
        watcher.join(LOOK_SECONDS)
    upload.finish(dataset)
    _release(place, store)
    return dataset


def _release(place: BucketPlace, store: Path) -> None:
    with bucket_faults(place), suppress(FileNotFoundError):
        bucket_files().rm_file(str(place.file(CLAIM)))
    _name_file(place, store).unlink(missing_ok=True)


def _own_name(place: BucketPlace, store: Path) -> str:
    """What this root is called in the claim: made up once, and kept as long as the place is written to."""
    path = _name_file(place, store)
    if not path.is_file():
        name = uuid.uuid4().hex
        aside = path.with_name(f"{path.name}-{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(aside, name)
        # Of two processes that begin at once both get the name that was there first.
        with suppress(FileExistsError):
            os.link(aside, path)
        aside.unlink()
    return path.read_text(encoding="utf-8")


def _name_file(place: BucketPlace, store: Path) -> Path:
    return store / f"upload@{uuid.uuid5(uuid.NAMESPACE_URL, str(place)).hex[:16]}"


def _digest(at: str) -> str | None:
    """Of what is there, None if nothing is, or nothing that was put there from here."""
    with suppress(FileNotFoundError):
        return str(bucket_files().metadata(at).get(DIGEST))
    return None


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
