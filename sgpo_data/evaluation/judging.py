"""Two models' answers before a judge: compared, judged in both orders as a stage like any other, and what it comes to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sgpo_data.errors import DatasetError, GateError, MissingExtraError
from sgpo_data.evaluation.comparisons import Compared
from sgpo_data.evaluation.judge.local import judging
from sgpo_data.evaluation.judge.stage import Comparison, Judge
from sgpo_data.execution import Execution
from sgpo_data.references.dataset import existing
from sgpo_data.references.model import Model
from sgpo_data.running.engines import Engines
from sgpo_data.running.planning import planned
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.input import input_of

if TYPE_CHECKING:
    from sgpo_data.evaluation.arena_hard import ArenaHard
    from sgpo_data.evaluation.results import Results

BLIND = 0.95
"""Share of the score that goes to one place, whatever stands there, from which on a judge goes by the place alone."""


@dataclass(frozen=True)
class Judged:
    """The verdicts of one judge on two models."""

    dataset: Dataset
    rows: tuple[Comparison, ...] = field(repr=False)
    results: "Results"
    arena_hard: "ArenaHard | None"
    unmatched: Mapping[str, int]

    @property
    def faults(self) -> tuple[str, ...]:
        """Why the verdicts say nothing about the models, if they do not."""
        found, where = self.results, self.dataset.folder
        if not found.judged:
            told = ", ".join(f"{count} {name}" for name, count in found.verdicts.items())
            return (f"{where}: no comparison has a verdict in both orders ({told}); read judgement with sgpo sql, and ask another judge",)
        first = found.first_preferred
        assert first is not None
        if max(first, 1 - first) >= BLIND:
            place = "first" if first > 0.5 else "second"
            return (f"{where}: the judge prefers the {place} answer in {max(first, 1 - first):.0%}, whichever it is; its verdicts say nothing of the models",)
        return ()

    def refuse_useless(self) -> None:
        """Raises GateError if the verdicts say nothing about the models."""
        if self.faults:
            raise GateError(*self.faults)


def judged(pair: Compared, judge: Judge, model: Model, execution: Execution, *, engines: Engines, out: Path | None = None) -> Judged:
    """The verdicts on these comparisons, asked now as far as they are not there; killed, the same call asks for what is missing alone.

    Raises MissingExtraError, before anything is asked, without what counts them; whatever a stage raises.
    """
    check_installed()
    job = planned(judge, input_of(pair.dataset, str(pair.dataset.folder)), model=model)
    with judging(judge, engines) as asked:
        dataset = job.make(out or execution.store / job.name, execution, asked)
    return _judged(dataset, pair.model, pair.unmatched)


def recorded_verdicts(reference: str, root: Path, *, model: str | None = None) -> Judged:
    """The verdicts of a dataset that is there, seen from this model, or else from the first in the alphabet.

    Raises DatasetError if it holds no evaluations, or none of this model.
    """
    dataset = existing(reference, root)
    if dataset.table != "evaluations":
        raise DatasetError(f"{reference}: holds {dataset.table}; give the evaluations that sgpo evaluate judge wrote")
    return judgement(dataset, model=model)


def judgement(dataset: Dataset, *, model: str | None) -> Judged:
    """What these verdicts come to, seen from this model, or else from the first in the alphabet.

    Raises DatasetError if there are none of this model, MissingExtraError without what counts them.
    """
    check_installed()
    return _judged(dataset, model, {})


def check_installed() -> None:
    """Raises MissingExtraError if what verdicts are counted with is not installed."""
    for package in ("numpy", "scipy"):
        if find_spec(package) is None:
            raise MissingExtraError("evaluate", package)


def _judged(dataset: Dataset, model: str | None, unmatched: Mapping[str, int]) -> Judged:
    # NumPy and SciPy take a while to import, and are an extra.
    from sgpo_data.evaluation.arena_hard import arena_hard
    from sgpo_data.evaluation.results import results

    rows = tuple(cast(Comparison, row) for row in dataset.rows())
    if not rows:
        raise DatasetError(f"{dataset.folder}: has no verdict")
    seen = model or min(name for row in rows for name in (row["first"], row["second"]))
    return Judged(dataset, rows, results(rows, model=seen), arena_hard(rows, model=seen), unmatched)
