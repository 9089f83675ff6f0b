"""How far two judges agree on the same comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass

from sgpo_data.errors import DatasetError
from sgpo_data.evaluation.judge.stage import Comparison
from sgpo_data.evaluation.results import JudgedPair, comparison_key, judged_pairs

Side = int
"""1, 0 or -1: the model of the alphabet's first name wins, neither, the other."""


@dataclass(frozen=True)
class Agreement:
    """Over the comparisons that both judges have given both verdicts on."""

    comparisons: int
    same: float
    """Share on which both name the same winner, or both none."""
    kappa: float | None
    """Cohen's: the same beyond what two judges with these shares agree on by chance; None where that is everything."""


def agreement(one: Sequence[Comparison], other: Sequence[Comparison]) -> Agreement:
    """How far the verdicts of two evaluations agree, joined by the two answers that were judged, wherever and in whatever order they stand.

    Raises DatasetError if no comparison is judged in both.
    """
    mine, yours = _sides(one), _sides(other)
    both = [(mine[key], yours[key]) for key in mine if key in yours]
    if not both:
        raise DatasetError("no comparison is judged in both; give two judges' verdicts on the same answers")
    same = sum(first == second for first, second in both) / len(both)
    chance = sum(_share([first for first, _ in both], side) * _share([second for _, second in both], side) for side in (-1, 0, 1))
    return Agreement(len(both), same, None if chance >= 1 else (same - chance) / (1 - chance))


def _sides(rows: Sequence[Comparison]) -> dict[tuple[str, str, str], Side]:
    """Winner by prompt and the two answers, the lesser text first."""
    names = sorted({row["first"] for row in rows})
    grouped: dict[tuple[str, int], list[Comparison]] = {}
    for row in rows:
        grouped.setdefault(comparison_key(row), []).append(row)
    found: dict[tuple[str, str, str], Side] = {}
    for (prompt, _), both in grouped.items():
        for pair in judged_pairs(both, model=names[0]):
            found[prompt, *_sorted(pair)] = _side(pair) * (1 if pair.answer <= pair.other else -1)
    return found


def _sorted(pair: JudgedPair) -> tuple[str, str]:
    return (pair.answer, pair.other) if pair.answer <= pair.other else (pair.other, pair.answer)


def _side(pair: JudgedPair) -> Side:
    return (pair.score > 0.5) - (pair.score < 0.5)


def _share(sides: Sequence[Side], side: Side) -> float:
    return sum(each == side for each in sides) / len(sides)
