"""What a tracker is told of a run beside the curves of its trainings: health and evaluation of every round."""

from collections.abc import Iterator, Mapping

from sgpo_data.evaluation.summary import EvaluationSummary, evaluation_summary
from sgpo_data.execution import Execution
from sgpo_data.health.health import health
from sgpo_data.loop.rounds import Run
from sgpo_data.training.tracking import track


def track_run(run: Run, execution: Execution) -> None:
    """Tells the tracker that is asked for the numbers of every round, at the number of the round, as a run of its own.

    Raises DatasetError if something that was made cannot be read.
    """
    track(execution, execution.run_name or run.name, round_numbers(run))


def round_numbers(run: Run) -> list[tuple[int, Mapping[str, float]]]:
    """The numbers of each round, named `health/<phase>/<measure>` and `evaluation/<phase>/<measure>`; what is not measured is left out."""
    found: list[tuple[int, Mapping[str, float]]] = []
    for made, healthy in zip(run.rounds, health(run).rounds, strict=True):
        measured = {f"health/{made.phase}/{each.measure.name}": each.value for each in healthy.findings if each.value is not None}
        summary = evaluation_summary(made.datasets)
        evaluated = {} if summary is None else {f"evaluation/{made.phase}/{name}": value for name, value in _numbers(summary)}
        found.append((made.number, {**measured, **evaluated}))
    return found


def _numbers(summary: EvaluationSummary) -> Iterator[tuple[str, float]]:
    if summary.questions:
        yield "whole_answers", summary.answered / summary.questions
    rate = summary.verdicts.win_rate if summary.verdicts is not None and not summary.faults else None
    if rate is not None:
        yield "win_rate", rate.value
    if summary.ifeval is not None:
        for of, shares in (("prompts", summary.ifeval.prompts), ("instructions", summary.ifeval.instructions)):
            for metric, share in shares.items():
                if share.share is not None:
                    yield f"{of}_{metric}", share.share
