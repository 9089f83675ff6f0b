"""What the evaluation of a round comes to: how often its model wins, and how many instructions it follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgpo_data.errors import MissingExtraError
from sgpo_data.evaluation.ifeval import IfevalResult, ifeval_result
from sgpo_data.evaluation.judging import judgement
from sgpo_data.evaluation.planning import ANSWERS
from sgpo_data.store.dataset import Dataset

if TYPE_CHECKING:
    from sgpo_data.evaluation.results import Results


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
