"""A dataset on the Hub, fetched once: each part is verified against the Hub's digests, the manifest comes last."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

from sgpo_data.errors import DatasetError, HubError
from sgpo_data.hub.client import again, hub_faults
from sgpo_data.hub.repository import Digest, HubRepository
from sgpo_data.names import HubPlace
from sgpo_data.store.dataset import WORK, Dataset, manifest_of
from sgpo_data.store.fetching import fetch_files, fetched, fetched_before, put_verified
from sgpo_data.store.manifest import MANIFEST, Manifest

log = logging.getLogger(__name__)


def fetch(place: HubPlace, store: Path) -> Dataset:
    """The dataset at this place, whose revision is a commit: as it lies in the store, or fetched as far as it does not.

    Raises DatasetError if there is none or another process takes an hour to fetch it, HubError if the Hub fails for too long or what comes is not what it has.
    """
    folder = store / _name(place)
    return fetched(folder, str(place), lambda: _fetch(place, folder))


def in_store(place: HubPlace, store: Path) -> Dataset | None:
    """The dataset at this place, whose revision is a commit, if it was fetched before."""
    return fetched_before(store / _name(place), str(place))


def remote_manifest(place: HubPlace, files: Mapping[str, Digest]) -> Manifest:
    """The manifest of the dataset at this place.

    Raises DatasetError if there is none of this version.
    """
    path = place.file(MANIFEST)
    if path not in files:
        raise DatasetError(f"{place}: no {MANIFEST} there, so this is no dataset of ours")
    return manifest_of(HubRepository(place.repository).small_file(_commit(place), path, files[path]), str(place))


def fetched_file(place: HubPlace, digest: Digest, into: Path) -> None:
    """A file at a commit, put in this place once its content is what the digest says.

    Raises HubError if it comes damaged twice.
    """
    damaged = HubError(f"{place}: comes damaged from the Hub, its content is not what the Hub says it is; try again later")

    def download() -> Path:
        with hub_faults(place.repository, place.revision):
            return again(lambda: _download(place, into.parent / WORK))

    put_verified(into, download=download, holds=lambda path: _holds(path, digest), damaged=damaged)


def _fetch(place: HubPlace, folder: Path) -> None:
    files = HubRepository(place.repository).files(_commit(place))
    manifest = remote_manifest(place, files)
    gone = [record.name for record in manifest.files if place.file(record.name) not in files]
    if gone:
        raise DatasetError(f"{place}: {gone[0]} is not there, though its {MANIFEST} lists it; publish it again")
    names = [record.name for record in manifest.files]
    log.info("%s: fetching %d rows of %s in %d files", place, manifest.rows, manifest.table, len(names))
    fetch_files(names, lambda name: fetched_file(place.folder(name), files[place.file(name)], folder / name))


def _download(place: HubPlace, work: Path) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(place.repository, place.path, repo_type="dataset", revision=place.revision, local_dir=work, force_download=True))


def _holds(path: Path, digest: Digest) -> bool:
    size = path.stat().st_size
    if size != digest.size:
        return False
    with path.open("rb") as file:
        if digest.sha256 is not None:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest.sha256
        git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        while block := file.read(1 << 20):
            git.update(block)
        return git.hexdigest() == digest.oid


def _name(place: HubPlace) -> str:
    """Its folder in the store: what is at a commit never changes."""
    of = hashlib.sha256(f"{place.repository}/{place.path}".encode()).hexdigest()
    return f"hub@{_commit(place)[:8]}-{of[:8]}"


def _commit(place: HubPlace) -> str:
    assert place.fixed, place
    assert place.revision is not None
    return place.revision
