"""The one Parquet writer: the schema's exact Arrow types, bytes that repeat, files that are whole or absent."""

from collections.abc import Sequence
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sgpo_data.errors import SchemaError
from sgpo_data.rows import Row
from sgpo_data.schema import Schema
from sgpo_data.store.files import disk_error, file_digest, put_in_place
from sgpo_data.store.manifest import FileRecord

ROW_GROUP_ROWS = 32768
# Pages end where the text says so, and the Hub stores equal ones once. Half of what datasets' own writer has: a quarter costs a fifth of the time to write.
CHUNKING = {"min_chunk_size": 128 * 1024, "max_chunk_size": 512 * 1024, "norm_level": 0}
# A dictionary is one page, which every new text changes; the few values that repeat fit in this.
DICTIONARY_BYTES = 16 * 1024
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
    aside = path.with_name(f".{path.name}.writing")
    try:
        with parquet_writer(aside, schema.arrow) as writer:
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
            writer.add_key_value_metadata(stamp(schema, fingerprint))
        record = FileRecord(name=path.name, rows=table.num_rows, bytes=aside.stat().st_size, sha256=file_digest(aside))
        put_in_place(aside, path)
    except OSError as error:
        raise disk_error(path, error) from error
    return record


def parquet_writer(where: Path | pa.BufferOutputStream, columns: pa.Schema) -> pq.ParquetWriter:
    """The writer of all our files."""
    return pq.ParquetWriter(
        where,
        columns,
        compression="zstd",
        write_page_index=True,
        write_page_checksum=True,
        use_content_defined_chunking=CHUNKING,
        dictionary_pagesize_limit=DICTIONARY_BYTES,
    )


def stamp(schema: Schema, fingerprint: str) -> dict[str, str]:
    """The key-value metadata that names table, schema version and fingerprint."""
    named = {"table": schema.table, "schema_version": schema.version, "fingerprint": fingerprint}
    return {METADATA_KEY: orjson.dumps(named).decode()}


def stamped_fingerprint(metadata: pq.FileMetaData) -> str | None:
    """The fingerprint that `write_parquet` put into the file of this metadata; None if it was written by something else."""
    try:
        named = orjson.loads((metadata.metadata or {})[METADATA_KEY.encode()])
    except (KeyError, ValueError):
        return None
    found = named.get("fingerprint") if isinstance(named, dict) else None
    return found if isinstance(found, str) else None
