"""Lint over pairs wherever they come from: a dataset, or raw preferences that are paired first."""

from dataclasses import dataclass

from sgpo_data.analysis.lint import LintFinding, lint
from sgpo_data.analysis.options import LintThresholds
from sgpo_data.execution import Execution
from sgpo_data.references.dataset import find_dataset, source_of
from sgpo_data.running.runner import run
from sgpo_data.sources.options import Source
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.store.dataset import Dataset


@dataclass(frozen=True)
class LintResult:
    """What was checked, and each check of it."""

    dataset: Dataset
    findings: tuple[LintFinding, ...]


def lint_reference(reference: str, thresholds: LintThresholds, source: Source, execution: Execution) -> LintResult:
    """The checks of pairs or examples, or of the pairs that pair makes of raw preferences, in the store.

    Raises what reading them raises.
    """
    dataset = find_dataset(reference, execution.root)
    if dataset is None or dataset.table == "prompts":
        dataset = run(Pair(), reference, source=source, execution=execution)
    filtered, improved = (source_of(dataset, table, execution.root) for table in ("filtered", "improved"))
    return LintResult(dataset, lint(dataset, thresholds, filtered=filtered, improved=improved))
