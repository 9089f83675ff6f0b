"""What the evaluation of a round comes to: how often its model wins, and how many instructions it follows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgpo_data.errors import MissingExtraError
from sgpo_data.evaluation.grades import Share
from sgpo_data.evaluation.ifeval import IfevalResult, ifeval_result
from sgpo_data.evaluation.judging import judgement
from sgpo_data.references.run import ANSWERS
from sgpo_data.store.dataset import Dataset

if TYPE_CHECKING:
    from sgpo_data.evaluation.results import Results


@dataclass(frozen=True)
class EvaluationNumber:
    """One number, as people read it."""

    name: str
    value: str
    against: str
    """Baseline and judge, or what makes the number worth nothing; empty where it is held against nobody."""


@dataclass(frozen=True)
class EvaluationSummary:
    """The numbers of one round."""

    set: str
    model: str
    """Identity of the model that answered."""
    answered: int
    """Questions with a whole answer."""
    questions: int
    verdicts: "Results | None" = None
    """None if nobody judged."""
    faults: tuple[str, ...] = ()
    """Why the verdicts say nothing of the models, if they do not."""
    ifeval: IfevalResult | None = None
    """None if the set is another."""
    uncounted: str | None = None
    """Why what is there is not counted."""

    @property
    def numbers(self) -> tuple[EvaluationNumber, ...]:
        """All there is, the whole answers first; intervals are 95 %."""
        return tuple(_numbers(self))


def evaluation_summary(datasets: Mapping[str, Dataset]) -> EvaluationSummary | None:
    """The numbers of what an evaluation has made so far, by the names of its links; None before the answers are there.

    Raises DatasetError if something cannot be read.
    """
    answers = datasets.get(ANSWERS)
    if answers is None:
        return None
    manifest = answers.manifest
    source = next((row["source"] for row in answers.rows()), "")
    model = manifest.identity.models["policy"].identity
    answered = manifest.outcomes.get("stop", 0)
    try:
        judged = judgement(datasets["evaluations"], model=model) if "evaluations" in datasets else None
        ifeval = ifeval_result(datasets["grades"]) if "grades" in datasets else None
    except MissingExtraError as error:
        return EvaluationSummary(source, model, answered, manifest.rows, uncounted=str(error))
    verdicts, faults = (None, ()) if judged is None else (judged.results, judged.faults)
    return EvaluationSummary(source, model, answered, manifest.rows, verdicts, faults, ifeval)


def _numbers(found: EvaluationSummary) -> Iterator[EvaluationNumber]:
    yield EvaluationNumber("whole answers", f"{found.answered:,} of {found.questions:,}", "")
    if found.uncounted is not None:
        yield EvaluationNumber("not counted", "–", found.uncounted)
    verdicts = found.verdicts
    if verdicts is not None:
        rate = verdicts.win_rate
        value = "–" if rate is None or found.faults else _percent(rate.value, rate.low, rate.high)
        told = f"{verdicts.baseline}, judged by {verdicts.judge}: {verdicts.judged:,} of {verdicts.comparisons:,} pairs in both orders"
        # Where the verdicts lie is of this machine.
        yield EvaluationNumber("win rate", value, "; ".join(fault.partition(": ")[2] for fault in found.faults) or told)
    if found.ifeval is not None:
        for of, shares in (("prompts", found.ifeval.prompts), ("instructions", found.ifeval.instructions)):
            for metric, share in shares.items():
                yield EvaluationNumber(f"{of} followed, {metric}", _share(share), "")


def _share(share: Share) -> str:
    return _percent(share.share, share.low, share.high)


def _percent(value: float, low: float | None, high: float | None) -> str:
    told = f"{100 * value:.1f} %"
    return told if low is None or high is None else f"{told} ({100 * low:.1f} to {100 * high:.1f})"
