"""What the runs of a root found of a model, for its card."""

from pathlib import Path

from sgpo_data.evaluation.summary import EvaluationSummary, evaluation_summary
from sgpo_data.loop.rounds import Round, open_run, run_names
from sgpo_data.references.run import ANSWERS


def model_evaluations(model: str, root: Path) -> list[EvaluationSummary]:
    """The evaluations of the model of this identity, each once, in the order of the runs' names.

    Raises DatasetError if one cannot be read.
    """
    rounds = [made for name in run_names(root) for made in open_run(name, root).rounds if _answered_by(made) == model]
    found: list[EvaluationSummary] = []
    for made in rounds:
        summary = evaluation_summary(made.datasets)
        if summary is not None and summary not in found:
            found.append(summary)
    return found


def _answered_by(made: Round) -> str | None:
    answers = made.datasets.get(ANSWERS)
    return None if answers is None else answers.manifest.identity.models["policy"].identity
