"""A dataset that is read where it lies: ranges of its parts as they are needed, each page held against its checksum."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

import duckdb
import pyarrow as pa

from sgpo_data.errors import SgpoError, first_line
from sgpo_data.rows import Row
from sgpo_data.schema import schema
from sgpo_data.store.dataset import BATCH_ROWS
from sgpo_data.store.manifest import FileRecord, Manifest

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.dataset as pads
    from fsspec import AbstractFileSystem


@dataclass(frozen=True)
class StreamedDataset(ABC):
    """A finished table of which nothing is kept on this machine."""

    manifest: Manifest
    failure: ClassVar[type[SgpoError]]
    """What is raised where what comes is damaged."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it lies; on the Hub, at its commit."""

    @property
    @abstractmethod
    def system(self) -> "AbstractFileSystem":
        """The file system that its parts are files of."""

    @abstractmethod
    def path_of(self, name: str) -> str:
        """Path in that file system of a part."""

    @abstractmethod
    def fetch(self, record: FileRecord, into: Path) -> None:
        """Puts a part in this place, once it is what the manifest says.

        Raises what `faults` does, and `failure` if it is damaged.
        """

    @abstractmethod
    def faults(self) -> AbstractContextManager[None]:
        """Turns what the file system raises into what users see."""

    @abstractmethod
    def passing(self, error: BaseException) -> bool:
        """Whether it was raised by the file system, and is no fault of what came."""

    @property
    def folder(self) -> Path:
        """Where it lies, which is no path."""
        return Path(self.place)

    @property
    def reference(self) -> str:
        """What names it: its place."""
        return self.place

    @property
    def table(self) -> str:
        """Name of the table."""
        return self.manifest.table

    @property
    def readable(self) -> list[str]:
        """None: none of its parts is a file here."""
        return []

    @contextmanager
    def part(self, record: FileRecord, scratch: Path) -> Iterator[Path]:
        """One of its parts as a file in the folder `scratch`, as long as the context lasts.

        Raises what `fetch` does.
        """
        path = scratch / record.name
        self.fetch(record, path)
        yield path
        path.unlink()

    def rows(self) -> Iterator[Row]:
        """All rows, in order.

        Raises HubError or StorageError if what it is read from fails, or if what comes is damaged.
        """
        with self.faults():
            try:
                for batch in self.arrow.to_batches(batch_size=BATCH_ROWS, batch_readahead=1, fragment_readahead=1):
                    yield from cast(list[Row], batch.to_pylist())
            except (pa.ArrowException, OSError) as error:
                if self.passing(error):
                    raise
                raise self.failure(f"{self.place}: comes damaged ({first_line(error)}); try again, or fetch it without --stream") from error

    def relation(self, con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """All rows, lazily, for SQL; only the columns that a query needs come over the network."""
        return con.from_arrow(self.arrow)

    def numbered(self, con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """The same with `position`: the number of each row from 0, in order."""
        return self.relation(con).project("*, row_number() OVER () - 1 AS position")

    def scan(self) -> "pl.LazyFrame":
        """All rows, lazily, in order, for Polars."""
        import polars as pl

        return pl.scan_pyarrow_dataset(self.arrow)

    @cached_property
    def arrow(self) -> "pads.FileSystemDataset":
        """The parts, as an Arrow dataset."""
        # It takes a while to import, pandas with it, and most commands read folders.
        from sgpo_data.store.unhurried import unhurried

        return unhurried([self.path_of(record.name) for record in self.manifest.files], self.system, schema(self.table).arrow)
