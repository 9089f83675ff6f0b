"""sgpo ls: the runs of a root, and what each has made."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from sgpo_data.execution import ROOT
from sgpo_data.printable import printable

if TYPE_CHECKING:
    from sgpo_data.loop.rounds import Round, Run


def ls(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run, by its name or its folder; all runs of the root if none is named.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array in place of the table.")] = False,
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
) -> None:
    """List the runs of the root, or what one run has made: rounds, or rows; each line begins with a reference."""
    from sgpo_data.loop.rounds import open_run, run_names
    from sgpo_data.paths import local_path

    root = local_path(root)
    found = list(_made(open_run(run, root))) if run else [_summary(open_run(name, root)) for name in run_names(root)]
    if as_json:
        print(orjson.dumps(found).decode())
    elif found:
        print(_table(found))
    else:
        print(f"{root}: no run; sgpo init writes a recipe, and sgpo run runs it", file=sys.stderr)


def _summary(run: "Run") -> dict[str, object]:
    missing = [f"{made.place}/{name}" for made in run.rounds for name in made.missing]
    return {"run": run.name, "rounds": len(run.rounds), "last": run.rounds[-1].place, "missing": " ".join(missing)}


def _made(run: "Run") -> Iterator[dict[str, object]]:
    for made in run.rounds:
        yield from _of_round(run, made)


def _of_round(run: "Run", made: "Round") -> Iterator[dict[str, object]]:
    for table, dataset in made.datasets.items():
        yield {"reference": str(run.folder / made.place / table), "rows": dataset.manifest.rows, "state": "whole"}
    if made.model is not None:
        yield {"reference": str(run.folder / made.place / "model"), "rows": made.model.manifest.rows, "state": "whole"}
    for name in made.missing:
        yield {"reference": str(run.folder / made.place / name), "rows": "", "state": "missing"}


def _table(found: list[dict[str, object]]) -> str:
    rows = [tuple(found[0]), *(tuple(printable(str(value)) for value in each.values()) for each in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
