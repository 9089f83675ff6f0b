"""A finished dataset: a folder of Parquet parts and the manifest that was written last."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from sgpo_data.connection import connected
from sgpo_data.errors import DatasetError, SchemaError, first_line
from sgpo_data.rows import Row
from sgpo_data.schema import schema
from sgpo_data.store.files import file_digest
from sgpo_data.store.manifest import MANIFEST, FileRecord, Manifest
from sgpo_data.store.parquet import METADATA_KEY
from sgpo_data.store.pointers import pointer_fault

if TYPE_CHECKING:
    import datasets  # type: ignore[import-untyped]
    import polars as pl

BATCH_ROWS = 1024
VERIFIERS = 2
"""Parts whose digests are taken at once."""
WORK = ".unfinished"
"""Folder that only a dataset in the making has."""


class Readable(Protocol):
    """A finished table, wherever it lies: what a stage reads."""

    @property
    def folder(self) -> Path:
        """Its folder; of one that is read where it lies its place, which is no path."""
        ...

    @property
    def manifest(self) -> Manifest:
        """What was recorded when it was finished."""
        ...

    @property
    def place(self) -> str | None:
        """Its place on the Hub, at a commit, or in a bucket, if it is from there."""
        ...

    @property
    def reference(self) -> str:
        """What names it: its place elsewhere, or its folder."""
        ...

    @property
    def table(self) -> str:
        """Name of the table."""
        ...

    @property
    def readable(self) -> list[str]:
        """The files that DuckDB reads itself for `relation`; what comes from elsewhere comes through Arrow."""
        ...

    def part(self, record: FileRecord, scratch: Path) -> AbstractContextManager[Path]:
        """One of its parts as a file on this machine, as long as the context lasts; what is fetched lies in the folder `scratch` meanwhile.

        Raises HubError or StorageError if it does not come, or not as the manifest says it is.
        """
        ...

    def rows(self) -> Iterator[Row]:
        """All rows, in order."""
        ...

    def relation(self, con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """All rows, lazily, for SQL."""
        ...

    def numbered(self, con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """The same with `position`: the number of each row from 0, in order."""
        ...

    def scan(self) -> "pl.LazyFrame":
        """All rows, lazily, in order, for Polars."""
        ...


@dataclass(frozen=True, repr=False)
class Dataset:
    """A folder that holds a finished table."""

    folder: Path
    manifest: Manifest
    place: str | None = None
    """Where it was fetched from: a place on the Hub, at its commit, or in a bucket."""

    @property
    def reference(self) -> str:
        """What names it: its place elsewhere, or its folder."""
        return self.place or str(self.folder)

    @property
    def table(self) -> str:
        """Name of the table."""
        return self.manifest.table

    @property
    def paths(self) -> list[Path]:
        """The Parquet parts, in the order of their rows."""
        return [self.folder / record.name for record in self.manifest.files]

    @property
    def readable(self) -> list[str]:
        """The files that DuckDB reads itself for `relation`; what comes from elsewhere comes through Arrow."""
        return [str(path) for path in self.paths]

    @contextmanager
    def part(self, record: FileRecord, scratch: Path) -> Iterator[Path]:
        """The file of one of its parts."""
        yield self.folder / record.name

    def verify(self) -> None:
        """Raises DatasetError if a part is not what the manifest says it is: what decides over all rows had better not read others."""
        with ThreadPoolExecutor(VERIFIERS) as pool:
            faults = pool.map(_digest_fault, self.paths, [record.sha256 for record in self.manifest.files])
            if fault := next(filter(None, faults), None):
                raise DatasetError(fault)

    def rows(self) -> Iterator[Row]:
        """All rows, in order.

        Raises DatasetError if a part cannot be read.
        """
        for path in self.paths:
            yield from part_rows(path)

    def relation(self, con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """All rows, lazily, in order, for SQL."""
        if not self.paths:
            return con.from_arrow(schema(self.table).arrow.empty_table())
        return con.read_parquet([str(path) for path in self.paths])

    def numbered(self, con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """The same with `position`: the number of each row from 0, in order.

        Raises DatasetError if the manifest has parts of which no row's number can be told.
        """
        if not self.paths:
            return self.relation(con).project("*, 0::BIGINT AS position")
        full = self.manifest.files[0].rows
        uneven = next((record for record in self.manifest.files[:-1] if record.rows != full), None)
        if uneven is not None:
            raise DatasetError(f"{self.folder / MANIFEST}: {uneven.name} has {uneven.rows} rows, and each part but the last has {full}; run its stage again")
        return self.relation(con).project(f"*, file_index::BIGINT * {full} + file_row_number AS position")

    def scan(self) -> "pl.LazyFrame":
        """All rows, lazily, in order, for Polars."""
        import polars as pl

        if not self.paths:
            return pl.LazyFrame(pl.DataFrame(schema(self.table).arrow.empty_table()))
        return pl.scan_parquet(self.paths)

    def to_datasets(self) -> "datasets.Dataset":
        """All rows, in order, as package `datasets` has them, read from its cache; for TRL and what else takes them.

        Raises MissingExtraError if it is not installed.
        """
        from sgpo_data.store.to_datasets import to_datasets

        return to_datasets(self.paths, schema(self.table).arrow)

    def __repr__(self) -> str:
        outcomes = ", ".join(f"{name} {count}" for name, count in self.manifest.outcomes.items())
        return f"Dataset({self.reference}: {self.manifest.rows} rows of {self.table}; {outcomes})"

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        from sgpo_data.store.html import dataset_html

        return dataset_html(self.manifest, self.reference, self.rows())


def part_rows(path: Path) -> Iterator[Row]:
    """All rows of one part, in order.

    Raises DatasetError if it cannot be read.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield from cast(list[Row], batch.to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path.parent, error, part=path) from error


def unreadable(folder: Path, error: Exception, *, part: Path | None = None) -> DatasetError:
    """What to say of a dataset whose files are not what they were, or of this part of it."""
    return DatasetError(f"{part or folder}: cannot be read ({first_line(error)}); sgpo check {folder} tells what is broken")


def open_dataset(folder: Path) -> Dataset:
    """The dataset in this folder.

    Raises DatasetError if the folder is missing, if the dataset was never finished, or if a part is gone.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such dataset; sgpo sql, inspect and check take the folder a stage wrote")
    path = folder / MANIFEST
    if not path.is_file():
        raise DatasetError(f"{folder}: no {MANIFEST}, so this dataset was never finished; run its stage again")
    manifest = manifest_of(path.read_bytes(), str(folder))
    gone = [record.name for record in manifest.files if not (folder / record.name).is_file()]
    if gone:
        raise DatasetError(f"{folder}: {gone[0]} is gone; copy it back, or remove the folder and run its stage again")
    for record in manifest.files:
        if fault := pointer_fault(folder / record.name):
            raise DatasetError(f"{folder / record.name}: {fault}")
    return Dataset(folder, manifest)


def manifest_of(content: bytes, place: str) -> Manifest:
    """The manifest of the dataset at this place, from the content of its file.

    Raises DatasetError if it is none of this version, or of a model.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        if b'"weights"' in content:
            raise DatasetError(f"{place}: holds a model, not a dataset; sgpo inspect shows it") from error
        first = error.errors()[0]["msg"]
        raise DatasetError(f"{place}/{MANIFEST}: not a manifest of this version ({error.error_count()} faults, the first: {first})") from error


def faults(dataset: Dataset) -> list[str]:
    """Everything that sets the files apart from the manifest and the schema; empty if the dataset is whole."""
    found = [fault for path, record in zip(dataset.paths, dataset.manifest.files, strict=True) for fault in _file_faults(dataset, path, record.sha256)]
    if found:
        return found
    with connected() as con:
        rows = dataset.relation(con)
        try:
            schema(dataset.table).check(rows, place=str(dataset.folder))
        except SchemaError as error:
            return [str(error)]
        ((total,),) = rows.aggregate("count(*)").fetchall()
    if total != dataset.manifest.rows:
        found.append(f"{dataset.folder}: {total} rows, the manifest counts {dataset.manifest.rows}")
    if sum(dataset.manifest.outcomes.values()) != dataset.manifest.rows:
        found.append(f"{dataset.folder}: {MANIFEST}: outcomes add up to {sum(dataset.manifest.outcomes.values())}, rows are {dataset.manifest.rows}")
    if dataset.manifest.identity.fingerprint != dataset.manifest.fingerprint:
        found.append(f"{dataset.folder}: {MANIFEST}: the fingerprint is not that of the identity beside it")
    return found


def _file_faults(dataset: Dataset, path: Path, sha256: str) -> list[str]:
    if fault := _digest_fault(path, sha256):
        return [fault]
    with pq.ParquetFile(path) as file:
        stamp = (file.metadata.metadata or {}).get(METADATA_KEY.encode(), b"")
    expected = dataset.manifest.fingerprint.encode()
    return [] if expected in stamp else [f"{path}: written for another fingerprint than {dataset.manifest.fingerprint[:8]}"]


def _digest_fault(path: Path, sha256: str) -> str | None:
    try:
        digest = file_digest(path)
    except OSError as error:
        raise unreadable(path.parent, error, part=path) from error
    if digest == sha256:
        return None
    return f"{path}: SHA-256 is {digest[:16]}..., the manifest says {sha256[:16]}...; copy it back, or remove the folder and run its stage again"
