"""Whether the model got better: the evaluation of every round, as rows of a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sgpo_data.evaluation.grades import Share
from sgpo_data.evaluation.summary import EvaluationSummary, evaluation_summary
from sgpo_data.loop.rounds import Round


@dataclass(frozen=True)
class EvaluationRow:
    """One number of one round."""

    place: str
    set: str
    number: str
    value: str
    against: str
    """Baseline and judge, or what makes the number worth nothing."""


def evaluated(rounds: Sequence[Round]) -> list[EvaluationRow]:
    """The rows of all rounds that were evaluated.

    Raises DatasetError if something cannot be read.
    """
    summaries = ((made.place, evaluation_summary(made.datasets)) for made in rounds)
    return [EvaluationRow(place, found.set, *row) for place, found in summaries if found is not None for row in _numbers(found)]


def _numbers(found: EvaluationSummary) -> Iterator[tuple[str, str, str]]:
    yield "whole answers", f"{found.answered:,} of {found.questions:,}", ""
    if found.uncounted is not None:
        yield "not counted", "–", found.uncounted
    verdicts = found.verdicts
    if verdicts is not None:
        rate = verdicts.win_rate
        value = "–" if rate is None or found.faults else _percent(rate.value, rate.low, rate.high)
        told = found.faults or (f"{verdicts.baseline}, judged by {verdicts.judge}: {verdicts.judged:,} of {verdicts.comparisons:,} pairs in both orders",)
        yield "win rate", value, "; ".join(told)
    if found.ifeval is not None:
        for metric, share in found.ifeval.prompts.items():
            yield f"prompts followed, {metric}", _share(share), ""
        for metric, share in found.ifeval.instructions.items():
            yield f"instructions followed, {metric}", _share(share), ""


def _share(share: Share) -> str:
    return _percent(share.share, share.low, share.high)


def _percent(value: float, low: float | None, high: float | None) -> str:
    told = f"{100 * value:.1f} %"
    return told if low is None or high is None else f"{told} ({100 * low:.1f} to {100 * high:.1f})"
