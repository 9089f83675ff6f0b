"""Tables in memory as files named by their content, so that what is made of them has a fingerprint and is taken up again."""

import hashlib
import os
from collections.abc import Iterator
from os import PathLike, fspath
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast, runtime_checkable

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sgpo_data.errors import DatasetError, UsageError, first_line
from sgpo_data.execution import Execution
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.files import disk_error, put_in_place

if TYPE_CHECKING:
    import datasets  # type: ignore[import-untyped]
    import polars as pl

BATCH_ROWS = 1024
DIGITS = 16
INDEX = "__index_level_"
"""What pandas calls an index without a name, which is no column of anybody's."""


@runtime_checkable
class ArrowTable(Protocol):
    """A table that hands out its rows: a frame of pandas or Polars, an Arrow table, a DuckDB relation."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html."""
        ...


Data: TypeAlias = "str | PathLike[str] | Dataset | ArrowTable | pl.LazyFrame | datasets.Dataset"
"""A reference, a path, a dataset that a function gave, or a table in memory."""


def reference_of(data: Data, root: Path) -> str:
    """What names it; a table in memory is written to the root, once.

    Raises UsageError if it is nothing that is read, DatasetError if it cannot be written.
    """
    if isinstance(data, str):
        return data
    if isinstance(data, PathLike):
        return fspath(data)
    if isinstance(data, Dataset):
        return data.reference
    return str(_written(_tables(data), Execution(root=root).frames))


def _tables(data: object) -> Iterator[pa.Table]:
    """The rows, in order, in tables of one schema."""
    import polars as pl

    if type(data).__module__.partition(".")[0] == "datasets" and hasattr(data, "with_format") and hasattr(data, "num_rows") and not isinstance(data, dict):
        rows = cast("datasets.Dataset", data)
        return cast(Iterator[pa.Table], rows.with_format("arrow").iter(batch_size=BATCH_ROWS))
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    if isinstance(data, pl.DataFrame):
        # Parquet has no writer yet for the views that Polars holds texts in.
        return iter([data.to_arrow(compat_level=pl.CompatLevel.oldest())])
    if isinstance(data, ArrowTable):
        return (pa.Table.from_batches([batch]) for batch in pa.RecordBatchReader.from_stream(data))
    if isinstance(data, dict) and data and hasattr(data, "with_format"):
        raise UsageError(f"{type(data).__name__}: holds the splits {', '.join(map(str, data))}; give one of them")
    raise UsageError(f"{type(data).__name__}: is no reference, path, frame or datasets.Dataset; give one of them")


def _written(tables: Iterator[pa.Table], folder: Path) -> Path:
    """The file of these rows: named by a digest of their values, so that neither the library nor its version counts."""
    digest = hashlib.sha256()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder, prefix=".writing-", delete=False) as file:
            aside = Path(file.name)
        try:
            _write(tables, aside, digest)
            path = folder / f"{digest.hexdigest()[:DIGITS]}.parquet"
            if not path.is_file():
                put_in_place(aside, path)
            return path
        finally:
            aside.unlink(missing_ok=True)
    except pa.ArrowException as error:
        raise DatasetError(f"table in memory: cannot be written as Parquet ({first_line(error)}); cast that column, or leave it out") from error
    except OSError as error:
        raise disk_error(folder, error) from error


def _write(tables: Iterator[pa.Table], path: Path, digest: "hashlib._Hash") -> None:
    writer: pq.ParquetWriter | None = None
    try:
        for whole in tables:
            table = _plain(whole)
            if writer is None:
                os.chmod(path, 0o644)
                writer = pq.ParquetWriter(path, table.schema, compression="zstd")
                digest.update(orjson.dumps(table.column_names))
            for batch in table.to_batches(max_chunksize=BATCH_ROWS):
                digest.update(b"".join(orjson.dumps(row, default=str, option=orjson.OPT_NON_STR_KEYS) + b"\n" for row in batch.to_pylist()))
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise DatasetError("table in memory: no rows; give one that has some")


def _plain(table: pa.Table) -> pa.Table:
    """Its columns without what only one library reads of them."""
    own = [name for name in table.column_names if not name.startswith(INDEX)]
    return table.select(own).replace_schema_metadata(None)
