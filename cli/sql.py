"""sgpo sql: one SELECT over datasets."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from sgpo_data.execution import ROOT

TABLE_ROWS = 50
Format = Literal["table", "csv", "json", "jsonl", "parquet"]


def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT; - reads it from standard input.")],
    references: Annotated[list[str] | None, typer.Argument(metavar="[NAME=]REF", help="Datasets, each a view named by its table.")] = None,
    run: Annotated[str | None, typer.Option(help="Adds the tables of a run, over all phases and rounds.")] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
    form: Annotated[
        Literal["table", "csv", "json", "jsonl", "parquet"] | None, typer.Option("--format", help="By the ending of -o if not given, else table.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; standard output if not given.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help=f"Rows at most; 0: all. A table shows {TABLE_ROWS} if not given.")] = None,
) -> None:
    """Ask datasets a question in SQL (DuckDB), which can only read them.

    Without REF and without --run, the newest dataset of each table in the store is a view. With --run R, the view `scored` holds that table of all
    phases and rounds, with columns phase and round in front, and policy_1_scored is that of one. Two tables tell more: manifests (one row per
    dataset) and columns (what each column means).
    """
    from .query import answer

    answer(sys.stdin.read() if query == "-" else query, references or [], run=run, root=root, form=form, out=out, limit=limit)
