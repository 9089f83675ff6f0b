"""All rows of a dataset in their order, written in parts as they come, in place of what a killed session left."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pyarrow as pa

from sgpo_data.store.dataset import Readable
from sgpo_data.store.manifest import FileRecord, Manifest
from sgpo_data.store.parts import part_name
from sgpo_data.store.unfinished import Unfinished
from sgpo_data.waiting import wait_for

WRITERS = 2
"""Parts that are written at once: encoding one takes longer than to read the next, so that these and one more are in memory."""
LEAST_ROWS = 2048
"""Of a row group that is copied: smaller ones cost every reader, and are written anew, larger."""


def write_all(into: Unfinished, reader: pa.RecordBatchReader) -> None:
    """Takes all columns of all rows."""
    _write_parts(reader, into.plan.part_rows, into.write_part)


def write_beside(into: Unfinished, reader: pa.RecordBatchReader, source: Readable) -> None:
    """Takes `position` and the columns that the table adds to its input's, of all rows of the input; the others are copied from its parts as they are.

    The parts have been verified. Raises HubError or StorageError if one that is fetched does not come.
    """
    # Only what copies pages needs the definition of Parquet.
    from sgpo_data.store.beside import write_beside

    part_rows = into.plan.part_rows

    def write(part: int, table: pa.Table) -> None:
        places = range(part * part_rows, part * part_rows + table.num_rows)
        assert table["position"].to_pylist() == list(places), f"rows of part {part} are out of order"
        own = table.drop_columns("position")
        into.check(own, into.schema.own)
        with ExitStack() as files:
            sources = [files.enter_context(source.part(record, into.work)) for record in _within(source.manifest, places)]
            path = into.folder / part_name(part)
            into.files[part] = write_beside(path, sources, own, into.schema, fingerprint=into.plan.identity.fingerprint)

    _write_parts(reader, part_rows, write)


def aligned(manifest: Manifest, part_rows: int) -> bool:
    """Whether each part of so many rows would be made of whole parts of this dataset, which are large enough to be copied."""
    sizes = [record.rows for record in manifest.files]
    if len(sizes) < 2:
        return bool(sizes) and sizes[0] <= part_rows
    full = sizes[0]
    return full >= LEAST_ROWS and part_rows % full == 0 and set(sizes[:-1]) == {full} and sizes[-1] <= full


def _within(manifest: Manifest, places: range) -> list[FileRecord]:
    """The parts whose rows have these numbers."""
    full = manifest.files[0].rows
    return list(manifest.files[places.start // full : -(-places.stop // full)])


def _write_parts(reader: pa.RecordBatchReader, part_rows: int, write: Callable[[int, pa.Table], None]) -> None:
    with ThreadPoolExecutor(max_workers=WRITERS) as writers:
        writing: deque[Future[None]] = deque()
        for part, table in enumerate(_in_parts(reader, part_rows)):
            if len(writing) == WRITERS:
                wait_for(writing.popleft())
            writing.append(writers.submit(write, part, table))
        for each in writing:
            wait_for(each)


def _in_parts(reader: pa.RecordBatchReader, part_rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `part_rows`, the last one shorter."""
    waiting = reader.schema.empty_table()
    for batch in reader:
        waiting = pa.concat_tables([waiting, pa.table(batch)])
        while waiting.num_rows >= part_rows:
            yield waiting.slice(0, part_rows).combine_chunks()
            waiting = waiting.slice(part_rows)
    if waiting.num_rows:
        yield waiting.combine_chunks()
