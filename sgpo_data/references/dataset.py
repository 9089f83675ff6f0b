"""A dataset reference: a folder, a folder of the root, or a place on the Hub or in a bucket."""

from pathlib import Path

from sgpo_data.buckets import fetch as buckets
from sgpo_data.buckets.streamed import streamed as streamed_from_bucket
from sgpo_data.errors import DatasetError
from sgpo_data.hub.fetch import fetch, in_store
from sgpo_data.hub.repository import HubRepository
from sgpo_data.hub.streamed import streamed
from sgpo_data.hub.version import publication_record
from sgpo_data.names import BucketPlace, HubPlace, bucket_place, hub_place, remote
from sgpo_data.paths import bracketed, local_path, nearby
from sgpo_data.references.model import model_folder
from sgpo_data.store.dataset import WORK, Dataset, Readable, open_dataset
from sgpo_data.store.manifest import MANIFEST


def find_dataset(reference: str, root: Path) -> Dataset | None:
    """The dataset that a reference names, as files; None if it names no dataset.

    One on the Hub is fetched into the store of the root at the commit that its revision stands for now, one in a bucket as it is now.
    Raises DatasetError if it names one that was never finished, several, or a model; HubError if the Hub cannot be asked, StorageError if a bucket cannot.
    """
    if (bucket := bucket_place(reference)) is not None:
        return _from_bucket(bucket, root)
    place = hub_place(reference)
    if place is None:
        return _local(reference, root)
    one = _only(reference, place, root)
    return None if one is None else _here(one, root)


def find_readable(reference: str, root: Path, *, stream: bool) -> Readable | None:
    """As `find_dataset`, but one on the Hub or in a bucket is read where it lies if it is to be streamed and is not here yet."""
    if not stream:
        return find_dataset(reference, root)
    if (bucket := bucket_place(reference)) is not None:
        there = buckets.found(bucket)
        return None if there is None else buckets.in_store(there, root / "store") or streamed_from_bucket(there)
    place = hub_place(reference)
    if place is None:
        return _local(reference, root)
    one = _only(reference, place, root)
    return None if one is None else in_store(one, root / "store") or streamed(one)


def find_datasets(reference: str, root: Path) -> list[Dataset]:
    """As `find_dataset`, but a published version on the Hub is all its datasets."""
    place = hub_place(reference)
    if place is None:
        dataset = find_dataset(reference, root)
        return [] if dataset is None else [dataset]
    return [_here(each, root) for each in places(place, root)]


def places(place: HubPlace, root: Path) -> list[HubPlace]:
    """Where the datasets of this place lie, at a commit: itself, those of the version that was published there, or none.

    A commit that was read before is not asked for again.
    Raises DatasetError if there is no such repository or revision, HubError if the Hub cannot be asked.
    """
    if place.fixed and in_store(place, root / "store") is not None:
        return [place]
    hub = HubRepository(place.repository)
    commit = hub.commit(place.revision)
    fixed = place.at(commit)
    if in_store(fixed, root / "store") is not None:
        return [fixed]
    files = hub.files(commit)
    if fixed.file(MANIFEST) in files:
        return [fixed]
    record = None if place.path else publication_record(hub, commit, files)
    return [] if record is None else [fixed.folder(config.name) for config in record.configs]


def missing(reference: str, root: Path) -> str:
    """What to say of a reference that names no dataset."""
    if bucket_place(reference) is not None:
        return f"{reference}: no dataset there; sgpo seed and sgpo run read raw rows"
    path = local_path(reference)
    if path.exists():
        return f"{reference}: is {f'a folder without {MANIFEST}' if path.is_dir() else 'a file'}, no dataset; sgpo seed and sgpo run read raw rows"
    near = nearby(path, _is_dataset) or nearby(local_path(root / reference), _is_dataset)
    return f"{reference}: no such dataset, here or in {root}" + bracketed(near)


def _is_dataset(folder: Path) -> bool:
    """Whether it is one, finished or not."""
    return (folder / MANIFEST).is_file() or (folder / WORK).is_dir()


def _only(reference: str, place: HubPlace, root: Path) -> HubPlace | None:
    """Where the dataset of a place lies; None if there is none."""
    found = places(place, root)
    if len(found) > 1:
        raise DatasetError(f"{reference}: holds {len(found)} datasets; name one: {', '.join(str(place.folder(each.path)) for each in found)}")
    return found[0] if found else None


def _here(place: HubPlace, root: Path) -> Dataset:
    return in_store(place, root / "store") or fetch(place, root / "store")


def _from_bucket(place: BucketPlace, root: Path) -> Dataset | None:
    there = buckets.found(place)
    return None if there is None else buckets.in_store(there, root / "store") or buckets.fetch(there, root / "store")


def _local(reference: str, root: Path) -> Dataset | None:
    for folder in (local_path(reference), local_path(root / reference)):
        if _is_dataset(folder):
            return open_dataset(folder)
    if model_folder(reference, root) is not None:
        raise DatasetError(f"{reference}: is a model folder; give a dataset here, and the model with --model")
    return None


def existing(reference: str, root: Path) -> Dataset:
    """The dataset a reference names.

    Raises DatasetError if there is none.
    """
    dataset = find_dataset(reference, root)
    if dataset is None:
        raise DatasetError(f"{missing(reference, root)}; give the folder that a stage printed")
    return dataset


def source_of(dataset: Dataset, table: str, root: Path) -> Dataset | None:
    """The dataset of this table in the lineage of another, as far as each still is where it was; nothing is fetched for this."""
    while dataset.manifest.table != table:
        made_of = next(iter(dataset.manifest.identity.inputs), None)
        if made_of is None or made_of.table is None or remote(made_of.reference):
            return None
        source = find_dataset(made_of.reference, root)
        if source is None or source.manifest.fingerprint != made_of.fingerprint:
            return None
        dataset = source
    return dataset
