"""sgpo sql: one SELECT over datasets."""

import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar

import duckdb
import pyarrow as pa
import typer

from sgpo_data.catalog import catalog
from sgpo_data.errors import UsageError
from sgpo_data.execution import ROOT
from sgpo_data.manifest import MANIFEST
from sgpo_data.parquet import disk_error, put_in_place
from sgpo_data.sandbox import query_error, selected

from .closed_pipe import closed_pipe_allowed
from .formats import Format, write_csv, write_json, write_jsonl, write_parquet, write_table

log = logging.getLogger(__name__)

BATCH_ROWS = 1024
TABLE_ROWS = 50

T = TypeVar("T")


def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT; - reads it from standard input.")],
    references: Annotated[list[str] | None, typer.Argument(metavar="[[NAME=]REF]...", help="Datasets, each a view named by its table.")] = None,
    run: Annotated[str | None, typer.Option(help="Adds the tables of a run, over all phases and rounds.")] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
    form: Annotated[Format | None, typer.Option("--format", help="By the ending of -o if not given, else table.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; standard output if not given.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help=f"Rows at most; 0: all. A table shows {TABLE_ROWS} if not given.")] = None,
) -> None:
    """Ask datasets a question in SQL (DuckDB), which can only read them.

    Without REF and without --run, the newest dataset of each table in the store is a view. With --run R, the view `scored` holds that table of all
    phases and rounds, with columns phase and round in front, and policy_1_scored is that of one. Two tables tell more: manifests (one row per
    dataset) and columns (what each column means).
    """
    form = _format(form, out)
    query = sys.stdin.read() if query == "-" else query
    if limit is None and form is Format.TABLE:
        limit = TABLE_ROWS
    con = catalog(references or [], run=run, root=root).connect()
    try:
        with _destination(out, form) as sink, closed_pipe_allowed(), ThreadPoolExecutor(1) as worker:
            _write(_Query(con, worker), query, form, sink, limit=limit or None)
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
        try:
            return self.worker.submit(step).result()
        except KeyboardInterrupt:
            self.con.interrupt()
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


def _format(form: Format | None, out: Path | None) -> Format:
    if form is None:
        ending = out.suffix.removeprefix(".") if out else ""
        form = Format(ending) if ending in list(Format) else Format.TABLE
    if form is Format.PARQUET and out is None and sys.stdout.isatty():
        raise UsageError("--format parquet: is not for a terminal; name a file with -o")
    return form


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
