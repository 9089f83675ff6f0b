"""Whether the model got better: the evaluation of every round, as rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass

from sgpo_data.evaluation.summary import EvaluationNumber, evaluation_summary
from sgpo_data.loop.rounds import Round


@dataclass(frozen=True)
class EvaluationRow:
    """One number of one round."""

    run: str
    place: str
    set: str
    number: EvaluationNumber


def evaluated(run: str, rounds: Sequence[Round]) -> list[EvaluationRow]:
    """The numbers of all rounds of a run that were evaluated.

    Raises DatasetError if something cannot be read.
    """
    summaries = ((made.place, evaluation_summary(made.datasets)) for made in rounds)
    return [EvaluationRow(run, place, found.set, number) for place, found in summaries if found is not None for number in found.numbers]
