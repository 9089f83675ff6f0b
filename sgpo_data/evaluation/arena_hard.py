"""Arena-Hard's numbers of verdicts: a double arrow is three battles, intervals over 100 draws, and Bradley-Terry at equal style."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from sgpo_data.evaluation.answer_files import style
from sgpo_data.evaluation.judge.stage import Comparison
from sgpo_data.evaluation.judge.verdict import SCORES, Verdict
from sgpo_data.evaluation.results import Floats, JudgedPair, Rate, judged_pairs, logistic_at_zero

WEIGHT = 3
"""Battles that a verdict `much better` counts for; lmarena/arena-hard-auto@005ac12, show_result.py"""
ROUNDS = 100
BOUNDS = (0.05, 0.95)


@dataclass(frozen=True)
class ArenaHard:
    """The numbers, seen from the model."""

    score: Rate
    """Share of battles won, ties by half; the bounds are 5 and 95 % of 100 draws."""
    style_controlled: Rate
    """The same by Bradley-Terry with length, headers, lists and bold words, at no difference of style. Ours in two things: differences are scaled but not
    centred, since over one pair of models centring would take the control away again, and length is in words: show_result.py takes token_len, which
    add_markdown_info.py counts by the tokenizer of gpt-4o."""


def arena_hard(rows: Sequence[Comparison], *, model: str) -> ArenaHard | None:
    """Arena-Hard's numbers of these rows of `evaluations`, from this model's side; None if no comparison has both verdicts."""
    names = sorted({row["first"] for row in rows} | {row["second"] for row in rows})
    pairs = judged_pairs(rows, model=names[0])
    if not pairs:
        return None
    battles = [(score, pair) for pair in pairs for score in _battles(pair)]
    outcomes = np.array([score for score, _ in battles])
    features = _features([pair for _, pair in battles])
    draws = np.random.default_rng(0).integers(0, len(battles), size=(ROUNDS, len(battles)))
    found = ArenaHard(
        score=_rate(float(outcomes.mean()), np.array([outcomes[draw].mean() for draw in draws])),
        style_controlled=_rate(logistic_at_zero(features, outcomes), np.array([logistic_at_zero(features[draw], outcomes[draw]) for draw in draws])),
    )
    return found if model == names[0] else ArenaHard(found.score.mirrored(), found.style_controlled.mirrored())


def _battles(pair: JudgedPair) -> Iterator[float]:
    """What the model gets in each battle: those of the order in which it is first, then those of the other."""
    for verdict, turned in zip(pair.verdicts, (False, True), strict=True):
        score = SCORES[verdict]
        yield from [1 - score if turned else score] * _weight(verdict)


def _weight(verdict: Verdict) -> int:
    return WEIGHT if verdict in ("first_much", "second_much") else 1


def _rate(value: float, draws: Floats) -> Rate:
    low, high = (float(np.quantile(draws, bound)) for bound in BOUNDS)
    return Rate(value, low, high)


def _features(pairs: Sequence[JudgedPair]) -> Floats:
    """Differences of style as show_result.py takes them, each in its standard deviations; one that never differs is left out."""
    ours, theirs = np.array([_style(pair.answer) for pair in pairs]), np.array([_style(pair.other) for pair in pairs])
    length = (ours[:, :1] - theirs[:, :1]) / (ours[:, :1] + theirs[:, :1])
    dense, other = ours[:, 1:] / ours[:, :1], theirs[:, 1:] / theirs[:, :1]
    features = np.hstack([length, (dense - other) / (dense + other + 1)])
    spread = features.std(axis=0)
    return np.asarray(features[:, spread > 0] / spread[spread > 0], dtype=np.float64)


def _style(answer: str) -> list[float]:
    counts = style(answer)
    return [float(max(len(answer.split()), 1)), *(_total(counts[name]) for name in ("header_count", "list_count", "bold_count"))]


def _total(counts: JsonValue) -> float:
    assert isinstance(counts, dict)
    return float(sum(count for count in counts.values() if isinstance(count, int)))
