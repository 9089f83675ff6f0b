"""The one Parquet writer: the schema's exact Arrow types, bytes that repeat, files that are whole or absent."""

import os
from collections.abc import Sequence
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sgpo_data.errors import DatasetError, SchemaError
from sgpo_data.manifest import FileRecord, file_digest
from sgpo_data.rows import Row
from sgpo_data.schema import SCHEMA_VERSION, Schema

ROW_GROUP_ROWS = 32768
# The chunk sizes of datasets' own writer: the Hub stores chunks of this size once.
CHUNKING = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}
METADATA_KEY = "sgpo"


def arrow_table(rows: Sequence[Row], schema: Schema, *, place: str) -> pa.Table:
    """Rows as a table of the schema's exact types.

    Raises SchemaError if a value does not fit its column.
    """
    try:
        return pa.Table.from_pylist(rows, schema=schema.arrow)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
        raise SchemaError(f"{place}: not rows of schemas/{schema.table}.sql: {error}") from error


def write_parquet(path: Path, table: pa.Table, schema: Schema, *, fingerprint: str) -> FileRecord:
    """Writes a file that appears under its name only when it is whole and on the disk.

    The same table gives the same bytes. Its key-value metadata names table, schema version and fingerprint.
    Raises DatasetError if the disk does not take it.
    """
    stamp = {"table": schema.table, "schema_version": SCHEMA_VERSION, "fingerprint": fingerprint}
    aside = path.with_name(f".{path.name}.writing")
    try:
        with pq.ParquetWriter(
            aside, schema.arrow, compression="zstd", write_page_index=True, write_page_checksum=True, use_content_defined_chunking=CHUNKING
        ) as writer:
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
            writer.add_key_value_metadata({METADATA_KEY: orjson.dumps(stamp).decode()})
        record = FileRecord(name=path.name, rows=table.num_rows, bytes=aside.stat().st_size, sha256=file_digest(aside))
        put_in_place(aside, path)
    except OSError as error:
        raise disk_error(path, error) from error
    return record


def write_text(path: Path, text: str) -> None:
    """Writes a small file that appears under its name only when it is whole and on the disk.

    Raises DatasetError if the disk does not take it.
    """
    aside = path.with_name(f".{path.name}.writing")
    try:
        aside.write_text(text, encoding="utf-8")
        put_in_place(aside, path)
    except OSError as error:
        raise disk_error(path, error) from error


def put_in_place(aside: Path, path: Path) -> None:
    """Syncs the file, gives it its name, and syncs the name."""
    _sync(aside)
    aside.replace(path)
    _sync(path.parent)


def disk_error(path: Path, error: OSError) -> DatasetError:
    """What to tell of a disk that is full, read-only or failing."""
    return DatasetError(f"{path}: can not be written ({error.strerror or error}); make room or give another place, then run the same command again")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
