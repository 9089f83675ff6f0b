"""A query of the command line, from its text to its rows in a format."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import duckdb

from sgpo_data.connection import quoted
from sgpo_data.errors import UsageError
from sgpo_data.paths import local_path
from sgpo_data.query.catalog import catalog
from sgpo_data.query.examples import example
from sgpo_data.query.sandbox import open_connection, sandbox
from sgpo_data.store.files import disk_error, put_in_place
from sgpo_data.store.manifest import MANIFEST

from ..printing.closed_pipe import closed_pipe_allowed
from ..printing.formats import Format
from .interruptible import Interruptible
from .rows import TABLE_ROWS, write_answer
from .standard_input import replace_dash

log = logging.getLogger(__name__)


def answer(
    arguments: list[str],
    *,
    runs: list[str],
    root: Path,
    example_name: str | None,
    variables: list[str],
    form: str | None,
    out: Path | None,
    limit: int | None,
    unsafe: bool,
) -> None:
    """Writes what the query gives to a file or to standard output; without a query, at a terminal, opens the shell.

    `limit` None or 0 is no limit, but that a table on standard output shows TABLE_ROWS unless it is 0.
    Raises UsageError, DatasetError or QueryError.
    """
    query, given = _query_and_references(arguments, example_name)
    kind = _format(form, out)
    with replace_dash(given) as references:
        tables = catalog(references, runs=runs, root=root).tables
        with Interruptible.over(open_connection(tables) if unsafe else sandbox(tables)) as running:
            _set_variables(running.con, variables)
            if query is None:
                from .shell import shell

                shell(running, unsafe=unsafe, limit=limit)
                return
            if limit is None and kind is Format.TABLE and out is None:
                limit = TABLE_ROWS
            with _destination(out, kind) as sink, closed_pipe_allowed():
                write_answer(running, query, kind, sink, limit=limit or None, unsafe=unsafe)
                sink.flush()


def _query_and_references(arguments: Sequence[str], example_name: str | None) -> tuple[str | None, list[str]]:
    """The query, None for the shell, and what follows it: a query is never one word, and a reference always."""
    if example_name is not None:
        return example(example_name).query, list(arguments)
    first, *rest = arguments or [""]
    if first and first != "-" and len(first.split()) != 1:
        return first, rest
    references = list(arguments) if first and first != "-" else rest
    if first != "-" and sys.stdin.isatty():
        if not sys.stdout.isatty():
            raise UsageError("sql: no query, and the shell needs a terminal; give a query, or one in standard input")
        return None, references
    if "-" in references:
        raise UsageError("-: standard input is the query already; give the query as an argument, or the reference")
    query = sys.stdin.read()
    if not query.strip():
        raise UsageError("sql: no query, and standard input is empty; give one SELECT")
    return query, references


def _set_variables(con: duckdb.DuckDBPyConnection, variables: Sequence[str]) -> None:
    for each in variables:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise UsageError(f"--set {each}: is not NAME=VALUE; the query gets the text with getvariable('NAME')")
        con.execute(f"SET VARIABLE {quoted(name)} = ?", [value])


def _format(form: str | None, out: Path | None) -> Format:
    ending = out.suffix.removeprefix(".") if out else ""
    if out is not None and form is None and ending not in list(Format):
        raise UsageError(f"-o {out}: its ending names no format; give one of .{', .'.join(Format)}, or --format")
    kind = Format(form or ending or Format.TABLE)
    if kind is Format.PARQUET and out is None and sys.stdout.isatty():
        raise UsageError("--format parquet: is not for a terminal; name a file with -o")
    return kind


@contextmanager
def _destination(out: Path | None, form: Format) -> Iterator[BinaryIO]:
    """Standard output, or a file that appears under its name only when it is whole."""
    if out is None:
        yield sys.stdout.buffer
        return
    out = local_path(out)
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
