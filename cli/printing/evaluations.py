"""The evaluations of two runs side by side, as lines or as JSON."""

import json
from dataclasses import asdict

from sgpo_data.errors import DatasetError
from sgpo_data.evaluation.summary import EvaluationNumber
from sgpo_data.loop.rounds import Run
from sgpo_data.report.evaluations import evaluated

from .printable import printable

Place = tuple[str, str, str]
"""Round, set, and name of the number."""


def show_evaluations(a: Run, b: Run, *, as_json: bool) -> None:
    """Prints the numbers of every round of both.

    Raises DatasetError if neither run was evaluated.
    """
    ours, theirs = _numbers(a), _numbers(b)
    if not ours and not theirs:
        raise DatasetError(f"{a.name}, {b.name}: no round of them was evaluated; add [phases.evaluate] to their recipes, or give two datasets")
    places = list(dict.fromkeys([*ours, *theirs]))
    if as_json:
        found = [{"round": place, "set": of, "number": name, **_sides(ours, theirs, (place, of, name))} for place, of, name in places]
        print(json.dumps(found))
        return
    rows = [("round", "set", "number", "A", "B"), *((*place, _value(ours, place), _value(theirs, place)) for place in places)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(f"A  {printable(a.name)}\nB  {printable(b.name)}\n")
    for row in rows:
        print("  ".join(printable(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for side, numbers in (("A", ours), ("B", theirs)):
        for (place, _, name), number in numbers.items():
            if number.against:
                print(f"{side} {place} {name}: against {printable(number.against)}")


def _numbers(run: Run) -> dict[Place, EvaluationNumber]:
    return {(row.place, row.set, row.number.name): row.number for row in evaluated(run.name, run.rounds)}


def _value(numbers: dict[Place, EvaluationNumber], place: Place) -> str:
    return numbers[place].value if place in numbers else ""


def _sides(ours: dict[Place, EvaluationNumber], theirs: dict[Place, EvaluationNumber], place: Place) -> dict[str, dict[str, str] | None]:
    return {side: asdict(numbers[place]) if place in numbers else None for side, numbers in (("a", ours), ("b", theirs))}
