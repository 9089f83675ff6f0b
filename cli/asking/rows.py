"""Rows of a query, printed or written."""

import logging
import shutil
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

import duckdb
import pyarrow as pa

from sgpo_data.query.examples import examples
from sgpo_data.query.sandbox import execute, selected

from ..printing.formats import Format, write_csv, write_json, write_jsonl, write_parquet, write_table
from .interruptible import Interruptible

log = logging.getLogger(__name__)

BATCH_ROWS = 1024
TABLE_ROWS = 50
"""Rows that a table shows unless told otherwise."""


def list_examples() -> None:
    """Prints the queries that come along."""
    known = examples()
    margin = max(map(len, known))
    for each in known.values():
        print(f"{each.name:<{margin}}  {each.about}")


def write_answer(running: Interruptible, query: str, form: Format, sink: BinaryIO, *, limit: int | None, unsafe: bool) -> None:
    """Writes the rows of the query; nothing if it gives none, as a statement of an unsafe connection can.

    Raises QueryError with DuckDB's words.
    """
    reader = running.result(partial(_opened, running.con, query, None if limit is None else limit + (form is Format.TABLE), unsafe))
    if reader is None:
        return
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


def _opened(con: duckdb.DuckDBPyConnection, query: str, rows: int | None, unsafe: bool) -> pa.RecordBatchReader | None:
    relation = execute(con, query) if unsafe else selected(con, query)
    if relation is None:
        return None
    # One row more than a table shows tells whether there are more.
    relation = relation.limit(rows) if rows is not None else relation
    reader: pa.RecordBatchReader = relation.to_arrow_reader(BATCH_ROWS)
    return reader


def _announced(batches: Iterator[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    """The batches up to the limit, and a line if there is more."""
    left = limit
    for batch in batches:
        yield batch if left is None else batch.slice(0, left)
        if left is not None and batch.num_rows > left:
            log.info("the first %d rows; --limit 0 shows all", limit)
            return
        left = None if left is None else left - batch.num_rows
