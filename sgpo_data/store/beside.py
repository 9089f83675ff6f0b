"""Columns put beside those of Parquet files that are copied page by page: what is the same is neither decoded nor encoded again.

As Parquet's own tools for Java append encoded blocks (ParquetFileWriter.appendRowGroup), which no library for Python does. Footers are read and written by the
definition of the format (apache/parquet-format, src/main/thrift/parquet.thrift at 24102ed).
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
import thriftpy2
from thriftpy2.protocol import TCompactProtocolFactory
from thriftpy2.utils import deserialize, serialize

from sgpo_data.schema import Schema
from sgpo_data.store.files import disk_error, file_digest, put_in_place
from sgpo_data.store.manifest import FileRecord
from sgpo_data.store.parquet import parquet_writer, stamp, write_parquet

Struct: TypeAlias = Any
"""A struct of the format's definition."""

_FORMAT = thriftpy2.load(str(resources.files("sgpo_data.store").joinpath("parquet.thrift")), module_name="parquet_thrift")
_COMPACT = TCompactProtocolFactory()  # type: ignore[no-untyped-call]
NONE: Mapping[str, str] = {}
_MAGIC = b"PAR1"
_FOOTER_END = 8
"""Bytes behind the footer: its length, and MAGIC."""


def write_beside(path: Path, sources: Sequence[Path], own: pa.Table, schema: Schema, *, fingerprint: str) -> FileRecord:
    """Writes a file of the rows of `sources`, one after the other, with the columns of `own` behind theirs; it appears under its name when it is whole.

    Row groups are those of the sources. Files that were written in another way than ours are read and written anew. Raises DatasetError if the disk does not
    take it, pyarrow.ArrowException or OSError if a source cannot be read.
    """
    aside = path.with_name(f".{path.name}.writing")
    with ExitStack() as opened:
        files = [_File.of(opened.enter_context(source.open("rb"))) for source in sources]
        whole = _encoded(schema.arrow.empty_table(), (), stamp(schema, fingerprint))
        if not all(file.begins(whole) for file in files):
            return write_parquet(path, _rows(sources, own, schema.arrow), schema, fingerprint=fingerprint)
        beside = _encoded(own, [group.num_rows for file in files for group in file.footer.row_groups])
        try:
            with aside.open("wb") as out:
                _write(out, files, beside, whole.footer)
            record = FileRecord(name=path.name, rows=own.num_rows, bytes=aside.stat().st_size, sha256=file_digest(aside))
            put_in_place(aside, path)
        except OSError as error:
            raise disk_error(path, error) from error
    return record


@dataclass(frozen=True)
class _File:
    """A Parquet file and its footer."""

    content: BinaryIO
    footer: Struct

    @classmethod
    def of(cls, content: BinaryIO) -> "_File":
        content.seek(-_FOOTER_END, 2)
        length = int.from_bytes(content.read(4), "little")
        content.seek(-_FOOTER_END - length, 2)
        return cls(content, deserialize(_FORMAT.FileMetaData(), content.read(length), _COMPACT))

    def begins(self, whole: "_File") -> bool:
        """Whether its columns are the first of the other file's, to the last detail of their types."""
        (_, *columns), (_, *others) = self.footer.schema, whole.footer.schema
        return bool(columns == others[: len(columns)])

    def read(self, begin: int, length: int) -> bytes:
        """Exactly so many bytes."""
        self.content.seek(begin)
        found = self.content.read(length)
        if len(found) != length:
            raise pa.ArrowInvalid(f"{getattr(self.content, 'name', 'file')} ends at {begin + len(found)}, and its footer names what comes after")
        return found


class _Chunk:
    """The pages of one column in one row group, on their way into another file."""

    def __init__(self, file: _File, column: Struct) -> None:
        self.file, self.column = file, column
        self.bounds = self.places = b""

    def copy(self, out: BinaryIO) -> None:
        """Writes its pages, and keeps what their index will be."""
        column, facts = self.column, self.column.meta_data
        begin = min(place for place in (facts.dictionary_page_offset, facts.data_page_offset) if place is not None)
        pages = self.file.read(begin, facts.total_compressed_size)
        moved = out.tell() - begin
        out.write(pages)
        if column.column_index_offset is not None:
            self.bounds = self.file.read(column.column_index_offset, column.column_index_length)
        if column.offset_index_offset is not None:
            index = deserialize(_FORMAT.OffsetIndex(), self.file.read(column.offset_index_offset, column.offset_index_length), _COMPACT)
            for page in index.page_locations:
                page.offset += moved
            self.places = serialize(index, _COMPACT)
        facts.data_page_offset += moved
        if facts.dictionary_page_offset is not None:
            facts.dictionary_page_offset += moved
        # Where another writer put one; it is not copied.
        facts.bloom_filter_offset = facts.bloom_filter_length = None

    def put_bounds(self, out: BinaryIO) -> None:
        """Writes the bounds of its pages."""
        if self.bounds:
            self.column.column_index_offset, self.column.column_index_length = out.tell(), len(self.bounds)
            out.write(self.bounds)

    def put_places(self, out: BinaryIO) -> None:
        """Writes where its pages are."""
        if self.places:
            self.column.offset_index_offset, self.column.offset_index_length = out.tell(), len(self.places)
            out.write(self.places)


def _write(out: BinaryIO, files: Sequence[_File], beside: _File, footer: Struct) -> None:
    """A file of the row groups of `files`, those of `beside` behind them, with this footer of one that has the same columns and no rows."""
    out.write(_MAGIC)
    chunks = []
    groups = [(file, group) for file in files for group in file.footer.row_groups]
    for (file, group), own in zip(groups, beside.footer.row_groups, strict=True):
        begin = out.tell()
        joined = [*(_Chunk(file, column) for column in group.columns), *(_Chunk(beside, column) for column in own.columns)]
        for chunk in joined:
            chunk.copy(out)
        footer.row_groups.append(
            _FORMAT.RowGroup(
                columns=[chunk.column for chunk in joined],
                num_rows=group.num_rows,
                total_byte_size=group.total_byte_size + own.total_byte_size,
                total_compressed_size=out.tell() - begin,
                file_offset=begin,
            )
        )
        chunks += joined
    for chunk in chunks:
        chunk.put_bounds(out)
    for chunk in chunks:
        chunk.put_places(out)
    footer.num_rows = sum(group.num_rows for group in footer.row_groups)
    written = serialize(footer, _COMPACT)
    out.write(written)
    out.write(len(written).to_bytes(4, "little") + _MAGIC)


def _encoded(columns: pa.Table, groups: Sequence[int], metadata: Mapping[str, str] = NONE) -> _File:
    """A file in memory as our writer writes it, in row groups of so many rows."""
    sink = pa.BufferOutputStream()
    with parquet_writer(sink, columns.schema) as writer:
        begin = 0
        for rows in groups:
            writer.write_table(columns.slice(begin, rows), row_group_size=rows)
            begin += rows
        writer.add_key_value_metadata(dict(metadata))
    return _File.of(BytesIO(sink.getvalue().to_pybytes()))


def _rows(sources: Sequence[Path], own: pa.Table, columns: pa.Schema) -> pa.Table:
    given = pa.schema(list(columns)[: len(columns) - own.num_columns])
    rows = pa.concat_tables([pq.ParquetFile(source).read().cast(given) for source in sources])
    return pa.table([*rows.columns, *own.columns], schema=columns)
