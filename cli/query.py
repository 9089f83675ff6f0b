"""A query of the command line, from its text to its rows in a format."""

import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import duckdb
import pyarrow as pa

from sgpo_data.catalog import catalog
from sgpo_data.errors import UsageError
from sgpo_data.manifest import MANIFEST
from sgpo_data.parquet import disk_error, put_in_place
from sgpo_data.sandbox import query_error, selected

from .closed_pipe import closed_pipe_allowed
from .formats import Format, write_csv, write_json, write_jsonl, write_parquet, write_table
from .sql import TABLE_ROWS

log = logging.getLogger(__name__)

BATCH_ROWS = 1024

T = TypeVar("T")


def answer(query: str, references: list[str], *, run: str | None, root: Path, form: str | None, out: Path | None, limit: int | None) -> None:
    """Writes what the query gives to a file or to standard output.

    `limit` None or 0 is no limit, but that a table shows TABLE_ROWS unless it is 0.
    Raises UsageError, DatasetError or RecipeError.
    """
    kind = _format(form, out)
    if limit is None and kind is Format.TABLE:
        limit = TABLE_ROWS
    con = catalog(references, run=run, root=root).connect()
    try:
        with _destination(out, kind) as sink, closed_pipe_allowed(), ThreadPoolExecutor(1) as worker:
            _write(_Query(con, worker), query, kind, sink, limit=limit or None)
            sink.flush()
    finally:
        con.close()


class _Query:
    """Steps of a query, each run beside the main thread, which alone hears Ctrl-C."""

    def __init__(self, con: duckdb.DuckDBPyConnection, worker: ThreadPoolExecutor) -> None:
        self.con = con
        self.worker = worker

    def result(self, step: Callable[[], T]) -> T:
        """What the step gives.

        Raises RecipeError with DuckDB's words; KeyboardInterrupt once the query is told to stop.
        """
        running = self.worker.submit(step)
        try:
            return running.result()
        except KeyboardInterrupt:
            # A query that is about to start does not hear the first call.
            while not running.done():
                self.con.interrupt()
                wait([running], timeout=0.1)
            raise
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise query_error(error) from error

    def batches(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        """The rows, as they are read."""

        def following() -> pa.RecordBatch | None:
            return next(reader, None)

        while (batch := self.result(following)) is not None:
            yield batch


def _write(running: _Query, query: str, form: Format, sink: BinaryIO, *, limit: int | None) -> None:
    def opened() -> pa.RecordBatchReader:
        relation = selected(running.con, query)
        # One row more than is shown tells whether there are more.
        relation = relation.limit(limit + (form is Format.TABLE)) if limit is not None else relation
        reader: pa.RecordBatchReader = relation.to_arrow_reader(BATCH_ROWS)
        return reader

    reader = running.result(opened)
    batches, names = running.batches(reader), reader.schema.names
    if form is Format.TABLE:
        write_table(_announced(batches, limit), names, sink, width=shutil.get_terminal_size((120, 40)).columns)
    elif form is Format.CSV:
        write_csv(batches, names, sink)
    elif form is Format.JSON:
        write_json(batches, names, sink)
    elif form is Format.JSONL:
        write_jsonl(batches, names, sink)
    else:
        write_parquet(batches, reader.schema, sink)


def _announced(batches: Iterator[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    """The batches up to the limit, and a line if there is more."""
    left = limit
    for batch in batches:
        yield batch if left is None else batch.slice(0, left)
        if left is not None and batch.num_rows > left:
            log.info("the first %d rows; --limit 0 shows all", limit)
            return
        left = None if left is None else left - batch.num_rows


def _format(form: str | None, out: Path | None) -> Format:
    ending = out.suffix.removeprefix(".") if out else ""
    kind = Format(form or (ending if ending in list(Format) else Format.TABLE))
    if kind is Format.PARQUET and out is None and sys.stdout.isatty():
        raise UsageError("--format parquet: is not for a terminal; name a file with -o")
    return kind


@contextmanager
def _destination(out: Path | None, form: Format) -> Iterator[BinaryIO]:
    """Standard output, or a file that appears under its name only when it is whole."""
    if out is None:
        yield sys.stdout.buffer
        return
    if out.is_dir() or (out.parent / MANIFEST).exists():
        raise UsageError(f"-o {out}: is {'a folder' if out.is_dir() else 'inside of a dataset'}; give another file")
    aside = out.with_name(f".{out.name}.writing")
    try:
        with aside.open("wb") as file:
            yield file
        put_in_place(aside, out)
    except OSError as error:
        raise disk_error(out, error) from error
    finally:
        aside.unlink(missing_ok=True)
    log.info("%s: written as %s", out, form.value)
