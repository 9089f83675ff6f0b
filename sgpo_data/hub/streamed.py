"""A dataset on the Hub that is read where it lies: ranges of its parts as they are needed, each page held against its checksum."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads

from sgpo_data.errors import HubError, first_line
from sgpo_data.hub.client import api, hub_faults, passing, status
from sgpo_data.hub.fetch import remote_manifest
from sgpo_data.hub.repository import HubRepository
from sgpo_data.names import HubPlace
from sgpo_data.rows import Row
from sgpo_data.schema import schema
from sgpo_data.store.dataset import BATCH_ROWS
from sgpo_data.store.manifest import Manifest

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class StreamedDataset:
    """A finished table of which nothing is kept on this machine."""

    at: HubPlace
    manifest: Manifest

    @property
    def folder(self) -> Path:
        """Where it lies, which is no path."""
        return Path(self.place)

    @property
    def place(self) -> str:
        """Where it lies, at its commit."""
        return str(self.at)

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

    def rows(self) -> Iterator[Row]:
        """All rows, in order.

        Raises HubError if the Hub fails, or if what comes is damaged.
        """
        with hub_faults(self.at.repository, self.at.revision):
            try:
                for batch in self.arrow.to_batches(batch_size=BATCH_ROWS, batch_readahead=1, fragment_readahead=1):
                    yield from cast(list[Row], batch.to_pylist())
            except (pa.ArrowException, OSError) as error:
                if status(error) is not None or passing(error):
                    raise
                raise HubError(f"{self.place}: comes damaged from the Hub ({first_line(error)}); try again, or fetch it without --stream") from error

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
    def arrow(self) -> pads.FileSystemDataset:
        """The parts, as an Arrow dataset over the Hub's file system."""
        from huggingface_hub import HfFileSystem
        from pyarrow.fs import FSSpecHandler, PyFileSystem

        # The commit stands in each path: a branch is no snapshot, two reads of one file could come from two commits.
        root = replace(self.at, path="").address
        options = pads.ParquetFragmentScanOptions(pre_buffer=True, page_checksum_verification=True)
        form = pads.ParquetFileFormat(default_fragment_scan_options=options)
        system = PyFileSystem(FSSpecHandler(HfFileSystem(endpoint=api().endpoint)))  # type: ignore[abstract]
        parts = [form.make_fragment(f"{root}/{self.at.file(record.name)}", system) for record in self.manifest.files]
        return pads.FileSystemDataset(parts, schema(self.table).arrow, form, system)


def streamed(place: HubPlace) -> StreamedDataset:
    """The dataset at this place, whose revision is a commit.

    Raises DatasetError if there is none, HubError if the Hub cannot be asked.
    """
    assert place.revision is not None
    manifest = remote_manifest(place, HubRepository(place.repository).files(place.revision))
    return StreamedDataset(place, manifest)
