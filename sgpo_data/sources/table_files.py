"""Raw rows of Parquet and Arrow files."""

from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from sgpo_data.errors import DatasetError, first_line
from sgpo_data.sources.odd_row import Place, Wording
from sgpo_data.sources.raw_file import RawFile, readable, refuse_twice
from sgpo_data.sources.record import Record

PARQUET_BATCH_ROWS = 256
FILE_MAGIC = b"ARROW1"
"""https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format: a stream begins otherwise."""


def parquet_rows(file: RawFile, columns: Collection[str]) -> Iterator[Record]:
    """The rows of all row groups, in order."""
    try:
        with readable(file.name), pq.ParquetFile(file.path) as opened:
            names = tuple(opened.schema_arrow.names)
            refuse_twice(names, columns, file.name)
            wanted = [name for name in names if name in columns]
            first = 1
            for batch in opened.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=wanted):
                yield from arrow_records(batch, names, name=file.name, first=first)
                first += batch.num_rows
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DatasetError(f"{file.name}: not a whole Parquet file: {first_line(error)}") from error


def arrow_rows(file: RawFile, columns: Collection[str]) -> Iterator[Record]:
    """A stream of batches, as `datasets.Dataset.save_to_disk` writes it, or a file of them, as Feather and `pyarrow.ipc.new_file` do."""
    try:
        with readable(file.name), pa.memory_map(str(file.path)) as opened:
            schema, batches = _batches(opened)
            names, first = tuple(schema.names), 1
            refuse_twice(names, columns, file.name)
            wanted = [name for name in names if name in columns]
            for whole in batches:
                # Lengths and offsets are taken as they stand in the file, and broken ones end the process.
                whole.validate(full=True)
                for start in range(0, whole.num_rows, PARQUET_BATCH_ROWS):
                    batch = whole.slice(start, PARQUET_BATCH_ROWS).select(wanted)
                    yield from arrow_records(batch, names, name=file.name, first=first)
                    first += batch.num_rows
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DatasetError(f"{file.name}: not a whole Arrow file: {first_line(error)}") from error


def _batches(opened: pa.NativeFile) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    magic = opened.read(len(FILE_MAGIC))
    opened.seek(0)
    if magic == FILE_MAGIC:
        file = pa.ipc.open_file(opened)
        return file.schema, (file.get_batch(number) for number in range(file.num_record_batches))
    stream = pa.ipc.open_stream(opened)
    return stream.schema, iter(stream)


def arrow_records(batch: pa.RecordBatch, columns: tuple[str, ...], *, name: str, first: int) -> Iterator[Record]:
    """The rows of a batch whose first one is row `first` of the source `name`.

    A row has a fault in place of values if a text has other bytes than UTF-8, or if Python has no such value: a day after the year 9999, a nanosecond.
    """
    try:
        rows = batch.to_pylist()
    except (pa.ArrowException, ArithmeticError, LookupError, ValueError) as error:
        if batch.num_rows > 1:
            for number in range(batch.num_rows):
                yield from arrow_records(batch.slice(number, 1), columns, name=name, first=first + number)
        else:
            place = Place(f"{name}, row {first}")
            yield Record({}, (), place.row, name, place.broken("{}", _unreadable(error)))
        return
    for number, values in enumerate(rows, first):
        yield Record(values, columns, f"{name}, row {number}", name)


def _unreadable(error: Exception) -> Wording:
    if isinstance(error, UnicodeDecodeError):
        return Wording(f"not UTF-8: byte 0x{error.object[error.start]:02x} at byte {error.start + 1} of a text", "not UTF-8")
    return Wording(f"holds a value that cannot be read: {first_line(error)}; cast its column to text", "holds a value that cannot be read")
