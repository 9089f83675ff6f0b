"""sgpo health: whether a run goes well."""

import inspect
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from sgpo_data.execution import ROOT
from sgpo_data.health.measures import MEASURES, Thresholds

from .flags import built, parameters
from .printing.closed_pipe import closed_pipe_allowed
from .printing.printable import printable

if TYPE_CHECKING:
    from sgpo_data.health.health import Finding, Health, RoundHealth
    from sgpo_data.loop.rounds import Run

LABEL = max(len(measure.label) for measure in MEASURES)
NARROWEST = 9
"""Columns of a number."""
MARGIN = 3
"""Columns before a number, and of the mark behind it."""


def add_health(app: typer.Typer) -> None:
    """Adds the command, with a flag for every threshold."""
    app.command("health", rich_help_panel="Look")(_command())


def _command() -> Callable[..., None]:
    def health(run: str, *, as_json: bool, root: Path, **given: object) -> None:
        """Tell whether a run goes well: lengths, repetition, diversity, training, shares kept, by round; exit 3 if a number is an alarm.

        A number that cannot be measured is no alarm, and is said. Growth is held against the round before that rewrites in the same role.
        """
        _health(run, root=root, thresholds=built(Thresholds, given), as_json=as_json)

    keyword = inspect.Parameter.KEYWORD_ONLY
    argument = Annotated[str, typer.Argument(metavar="RUN", help="A run of the root, by its name, or its folder.")]
    as_json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
    root = Annotated[Path, typer.Option(help="Folder that holds what was made.")]
    own = [
        inspect.Parameter("run", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=argument),
        inspect.Parameter("as_json", keyword, annotation=as_json, default=False),
        inspect.Parameter("root", keyword, annotation=root, default=ROOT),
    ]
    health.__signature__ = inspect.Signature([*own, *parameters(Thresholds, panel="Alarms")])  # type: ignore[attr-defined]
    return health


def _health(run: str, *, root: Path, thresholds: Thresholds, as_json: bool) -> None:
    from sgpo_data.errors import GateError
    from sgpo_data.health.health import health
    from sgpo_data.loop.rounds import open_run

    opened = open_run(run, root)
    found = health(opened, thresholds)
    with closed_pipe_allowed():
        if as_json:
            print(orjson.dumps(_whole(opened, found)).decode())
        else:
            for line in _lines(found, shutil.get_terminal_size((120, 40)).columns):
                print(line.rstrip())
    if found.alarms:
        raise GateError(*found.alarms)


def _whole(run: "Run", found: "Health") -> dict[str, object]:
    rounds = [
        {"place": each.place, "like": each.like, "rows": each.rows, "dropped": each.dropped, "numbers": dict(map(_number, each.findings))}
        for each in found.rounds
    ]
    return {"run": run.name, "words": found.words, "rounds": rounds, "alarms": found.alarms}


def _number(finding: "Finding") -> tuple[str, dict[str, object]]:
    measure = finding.measure
    told = {"value": finding.value, "unit": measure.unit, "before": finding.before, "bound": measure.bound, "limit": finding.limit}
    return measure.name, {**told, "verdict": finding.verdict, "why": finding.why}


def _lines(found: "Health", width: int) -> Iterator[str]:
    """The numbers, rounds side by side as far as the width goes, then what is missing."""
    widths = [max(NARROWEST, len(printable(each.place))) for each in found.rounds]
    done = 0
    while done < len(found.rounds):
        end, room = done, width - LABEL
        while end < len(found.rounds) and (end == done or room >= widths[end] + MARGIN):
            room -= widths[end] + MARGIN
            end += 1
        yield from _table(found.rounds[done:end], widths[done:end])
        yield ""
        done = end
    yield "not measured"
    for each in found.rounds:
        counts: dict[str, int] = {}
        for finding in each.findings:
            if finding.why:
                counts[finding.why] = counts.get(finding.why, 0) + 1
        told = "; ".join(f"{why}{f' ({count} numbers)' if count > 1 else ''}" for why, count in counts.items())
        yield f"  {printable(each.place)}: {told or 'nothing'}"


def _table(rounds: "tuple[RoundHealth, ...]", widths: list[int]) -> Iterator[str]:
    from sgpo_data.health.health import format_value

    yield " " * LABEL + "".join(f"  {printable(each.place):>{width}} " for each, width in zip(rounds, widths, strict=True))
    for at, measure in enumerate(MEASURES):
        if at == 0 or MEASURES[at - 1].failure != measure.failure:
            yield measure.failure
        cells = []
        for each, width in zip(rounds, widths, strict=True):
            finding = each.findings[at]
            mark = "!" if finding.verdict == "alarm" else " "
            cells.append(f"  {format_value(finding.value, measure.unit) or '-':>{width}}{mark}")
        yield f"  {measure.label:<{LABEL - 2}}{''.join(cells)}"
