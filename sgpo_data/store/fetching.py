"""A dataset from elsewhere, fetched once into the store: each part is verified, the manifest comes last."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

from sgpo_data.errors import SgpoError
from sgpo_data.store.dataset import WORK, Dataset, open_dataset
from sgpo_data.store.files import put_in_place
from sgpo_data.store.lock import READING_SECONDS, claimed
from sgpo_data.store.manifest import MANIFEST
from sgpo_data.waiting import wait_for

log = logging.getLogger(__name__)

DOWNLOADS = 4
"""Files on their way at once."""


def fetched(folder: Path, place: str, fetch: Callable[[], None]) -> Dataset:
    """The dataset of a place elsewhere in its folder of the store, fetched now by one process as far as it is not there.

    Raises DatasetError if another process takes an hour to fetch it; whatever `fetch` raises.
    """
    if not (folder / MANIFEST).is_file():
        with claimed(folder, seconds=READING_SECONDS):
            if not (folder / MANIFEST).is_file():
                fetch()
            rmtree(folder / WORK, ignore_errors=True)
    return replace(open_dataset(folder), place=place)


def fetched_before(folder: Path, place: str) -> Dataset | None:
    """The same if it is there already."""
    return replace(open_dataset(folder), place=place) if (folder / MANIFEST).is_file() else None


def fetch_files(names: Sequence[str], fetch: Callable[[str], None]) -> None:
    """Fetches several files at once, then the manifest alone, last: what a kill leaves is taken up, and is no dataset."""
    for group in (names, [MANIFEST]):
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            asked = [pool.submit(fetch, name) for name in group]
            for each in asked:
                wait_for(each)


def put_verified(into: Path, *, download: Callable[[], Path], holds: Callable[[Path], bool], damaged: SgpoError) -> None:
    """Puts what is downloaded in its place once it is what it should be; tries twice, then raises `damaged`."""
    if into.is_file() and holds(into):
        return
    for _ in range(2):
        aside = download()
        if holds(aside):
            into.parent.mkdir(parents=True, exist_ok=True)
            put_in_place(aside, into)
            return
        aside.unlink()
        log.warning("%s; fetching it again", damaged)
    raise damaged
