"""Grades of answers by a program, as a dataset, and the shares of them that are met with their intervals."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import pyarrow as pa

from sgpo_data.evaluation.statistics import interval_of_ratio
from sgpo_data.execution import Execution
from sgpo_data.names import MadeName
from sgpo_data.schema import schema
from sgpo_data.store.at_once import write_all
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.manifest import Identity
from sgpo_data.store.resume import make
from sgpo_data.store.unfinished import StageSummary, Unfinished

PART_ROWS = 131072


class Grade(TypedDict):
    """A row of `grades`."""

    task: str
    item: str
    sample: int
    part: int
    kind: str | None
    metric: str
    value: float | None
    question: str
    answer: str | None
    prompt_id: str | None
    model: str


@dataclass(frozen=True)
class Graded:
    """What a program found."""

    grades: Sequence[Grade]
    facts: Mapping[str, float]
    """Numbers that are of the whole task."""
    exact: bool
    """Whether the platform repeats them."""


@dataclass(frozen=True)
class Share:
    """Met of all."""

    met: float
    of: int
    low: float | None
    """Of the share, by a bootstrap over questions; None for fewer than two."""
    high: float | None

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.met / self.of


def grades_folder(identity: Identity, execution: Execution, folder: Path | None) -> Path:
    """Where the grades of this identity stand: in the store unless a folder is given."""
    return folder or execution.store / str(MadeName.made("grades", identity.fingerprint))


def graded_dataset(identity: Identity, folder: Path, work: Callable[[], Graded]) -> Dataset:
    """The grades; made once."""

    def made(into: Unfinished) -> StageSummary:
        found = work()
        write_all(into, pa.Table.from_pylist(list(found.grades), schema=schema("grades").arrow).to_reader())
        answers = {(each["task"], each["item"], each["sample"]) for each in found.grades}
        return StageSummary(rows_in=len(answers), outcome="task", facts=found.facts, exact=found.exact)

    return make(folder, identity, table="grades", part_rows=PART_ROWS, work=made)


def share(questions: Iterable[Sequence[bool]]) -> Share:
    """Of all parts of these questions, those that are met; the parts of one question are not independent."""
    parts = list(questions)
    met, of = [sum(each) for each in parts], [len(each) for each in parts]
    low, high = interval_of_ratio(met, of)
    return Share(sum(met), sum(of), low, high)
