"""sgpo sql: one SELECT over datasets, or a shell to ask them in."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sgpo_data.execution import ROOT

from .asking.rows import TABLE_ROWS

Format = Literal["table", "csv", "json", "jsonl", "parquet"]


def sql(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[QUERY] [[NAME=]REF...]", help="One SELECT, then datasets and files. What is one word is a REF. - reads from standard input."),
    ] = None,
    run: Annotated[list[str] | None, typer.Option(help="Adds the tables of a run, over all phases and rounds; again for each further run.")] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
    example: Annotated[str | None, typer.Option(help="Asks a query that comes along; list tells which there are.")] = None,
    variables: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A text the query gets with getvariable('NAME').")] = None,
    form: Annotated[
        Literal["table", "csv", "json", "jsonl", "parquet"] | None, typer.Option("--format", help="By the ending of -o if not given, else table.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; standard output if not given.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help=f"Rows at most; 0: all. A table shows {TABLE_ROWS} if not given.")] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Any statements, and all that DuckDB can do: write and read files, datasets too, load extensions, use the network.")
    ] = False,
) -> None:
    """Ask datasets a question in SQL (DuckDB), which only reads them. Without QUERY, a terminal gets a shell; else standard input is the query.

    A dataset is a view named by its table; NAME=REF names it otherwise. A file (.parquet, .csv, .jsonl, .json, also .gz) is a view named by it.
    - as REF reads the reference that a stage printed, NAME=-.jsonl (.csv, .parquet) the rows themselves. Without REF and without --run, the
    newest dataset of each table in the store is a view.

    With --run R, the view `scored` holds that table of all phases and rounds, with columns run, phase and round in front, and policy_1_scored is
    that of one (R_policy_1_scored if there are several runs). The judge of a phase gives `verdicts` on `rewrites`, an evaluation `questions`, `answers` and
    `evaluations`. Three tables tell more: manifests (one row per dataset), columns (what each means) and guards (what was measured around each training of R).

    Macros: perplexity(nll, tokens), last_turn(messages), share(condition), edit_share(edited_words, words, other_words), wrap(text, width).
    """
    from .asking.query import answer
    from .asking.rows import list_examples

    if example == "list":
        list_examples()
        return
    answer(arguments or [], runs=run or [], root=root, example_name=example, variables=variables or [], form=form, out=out, limit=limit, unsafe=unsafe)
