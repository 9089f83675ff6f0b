"""sgpo diff: what sets two datasets of one table apart, or the evaluations of two runs."""

from pathlib import Path
from typing import Annotated

import typer

from sgpo_data.errors import UsageError
from sgpo_data.execution import ROOT
from sgpo_data.loop.folder import STEPS

from .references import typed


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A dataset, or a run; - reads the reference from standard input.")],
    after: Annotated[str, typer.Argument(metavar="B", help="Another dataset of the same table, another run, or -.")],
    rows: Annotated[int, typer.Option(min=0, help="Changed rows to show.")] = 3,
    seed: Annotated[int, typer.Option(help="Draws other rows.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, texts uncut.")] = False,
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
) -> None:
    """Show what sets dataset B apart from dataset A: recipes, rows in, out and changed, outcomes that moved, shifts of numbers, a few changed rows.

    Rows are the same one if they have the same key, which is prompt_id and sample in most tables. Of two runs, the evaluations of their rounds are shown.
    """
    from sgpo_data.references.dataset import existing, find_dataset

    if find_dataset(before, root) is None and find_dataset(after, root) is None and all((root / each / STEPS).is_file() for each in (before, after)):
        from sgpo_data.loop.rounds import open_run

        from .printing.evaluations import show_evaluations

        show_evaluations(open_run(before, root), open_run(after, root), as_json=as_json)
        return
    from .printing.differences import show

    if before == after == "-":
        raise UsageError("- -: standard input holds one reference; name the other dataset")
    show(existing(typed(before), root), existing(typed(after), root), rows=rows, seed=seed, as_json=as_json)
