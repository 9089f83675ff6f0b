"""What the votes of people come to: how often `a` wins, and how far people agree with one another, with a judge and with the filter."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sgpo_data.errors import SchemaError
from sgpo_data.evaluation.statistics import installed, interval_of_ratio
from sgpo_data.evaluation.votes import VERDICTS, VotedReview
from sgpo_data.store.dataset import Dataset

LEVELS = (0.0, 0.5, 1.0)

Scores = Mapping[str, Mapping[str, float]]
"""By item, by person: what `a` gets, 1, 0.5 or 0."""


@dataclass(frozen=True)
class WinRate:
    """How often `a` is better, a tie counting half."""

    rate: float
    """Mean over items of the mean over people."""
    low: float | None
    """Bootstrap over items; None for fewer than two."""
    high: float | None
    items: int
    votes: int
    ties: int


@dataclass(frozen=True)
class ReviewAgreement:
    """How far two views of the same items agree, or several."""

    items: int
    share: float | None
    """Of the items on which both take a side, those where it is the same; None for several views, or where there is no such item."""
    alpha: float | None
    """Krippendorff's, over three ordered values; None where it is not defined: no item has two views, or all views are the same."""


@dataclass(frozen=True)
class PeopleResult:
    """The numbers of a review."""

    people: tuple[str, ...]
    win_rate: WinRate
    by_group: Mapping[str, WinRate]
    """Of kept and of dropped rows."""
    first_rate: float
    """How often the answer shown first wins: far from a half, people vote by place."""
    among_people: ReviewAgreement
    with_judge: ReviewAgreement | None
    with_filter: ReviewAgreement | None
    """The filter takes the side of `a` where it keeps the row."""


def people_result(voted: VotedReview, judge: Dataset | None = None) -> PeopleResult:
    """The numbers of these votes.

    Raises SchemaError if the judge's dataset is of another table or judges none of the items, MissingExtraError if the statistics are not installed.
    """
    scores: dict[str, dict[str, float]] = {}
    firsts = []
    for person, item, vote in voted.votes():
        first = VERDICTS[vote.vote][1]
        firsts.append(first)
        scores.setdefault(item.id, {})[person] = first if item.a_is_first else 1 - first
    if not firsts:
        raise SchemaError(f"{', '.join(record.reference for record in voted.records)}: no vote is in them; vote on the page, then save")
    groups = {item.id: item.pair.group for item in voted.review.items}
    names = sorted({group for item in scores if (group := groups[item]) is not None}, reverse=True)
    majority = {item: sum(each.values()) / len(each) for item, each in scores.items()}
    filtered = {item: float(groups[item] == "kept") for item in scores if groups[item] is not None}
    return PeopleResult(
        people=voted.people,
        win_rate=_win_rate(scores),
        by_group={name: _win_rate({item: each for item, each in scores.items() if groups[item] == name}) for name in names},
        first_rate=sum(firsts) / len(firsts),
        among_people=ReviewAgreement(sum(len(each) > 1 for each in scores.values()), None, alpha([_column(scores, person) for person in voted.people])),
        with_judge=None if judge is None else _between(majority, _judged(voted, judge)),
        with_filter=_between(majority, filtered) if filtered else None,
    )


def alpha(views: Sequence[Sequence[float | None]]) -> float | None:
    """Krippendorff's alpha of ordered values: one sequence per view, item by item, None where it says nothing; None where alpha is not defined."""
    pairable = [values for column in zip(*views, strict=True) if len(values := [value for value in column if value is not None]) > 1]
    if len({value for values in pairable for value in values}) < 2:
        return None
    krippendorff = installed("krippendorff", "people")
    reliability = [[float("nan") if value is None else value for value in view] for view in views]
    return float(krippendorff.alpha(reliability_data=reliability, level_of_measurement="ordinal", value_domain=list(LEVELS)))


def _column(scores: Scores, person: str) -> list[float | None]:
    return [each.get(person) for each in scores.values()]


def _win_rate(scores: Scores) -> WinRate:
    means = [sum(each.values()) / len(each) for each in scores.values()]
    # Over items: votes on the same item are not independent.
    low, high = interval_of_ratio(means, [1.0] * len(means), extra="people")
    votes = [vote for each in scores.values() for vote in each.values()]
    return WinRate(sum(means) / len(means), low, high, len(means), len(votes), Counter(votes)[0.5])


def _between(people: Mapping[str, float], other: Mapping[str, float]) -> ReviewAgreement:
    shared = [item for item in people if item in other]
    sided = [(people[item], other[item]) for item in shared if people[item] != 0.5 != other[item]]
    share = sum((one > 0.5) == (two > 0.5) for one, two in sided) / len(sided) if sided else None
    return ReviewAgreement(len(shared), share, alpha([[_side(of[item]) for item in shared] for of in (people, other)]))


def _side(score: float) -> float:
    """The nearest of the three values; a majority of any size is a side."""
    return 1.0 if score > 0.5 else 0.0 if score < 0.5 else 0.5


def _judged(voted: VotedReview, judge: Dataset) -> dict[str, float]:
    """What `a` gets of a judge, by item: the mean over both orders. Items are known by their texts, whatever the models are called there."""
    if judge.table != "evaluations":
        raise SchemaError(f"{judge.folder}: holds {judge.table}; give the evaluations that sgpo evaluate judge made")
    items = {(item.pair.key[0], item.pair.a, item.pair.b): item.id for item in voted.review.items}
    found: dict[str, list[float]] = {}
    for row in judge.scan().select("prompt_id", "first_answer", "second_answer", "first_score").collect().iter_rows():
        prompt, first, second, score = row
        for key, of_a in (((prompt, first, second), score), ((prompt, second, first), None if score is None else 1 - score)):
            if key in items and of_a is not None:
                found.setdefault(items[key], []).append(of_a)
    if not found:
        raise SchemaError(f"{judge.folder}: judges none of the answers that people voted on; give the judgement of the same two sets of answers")
    return {item: sum(scores) / len(scores) for item, scores in found.items()}
