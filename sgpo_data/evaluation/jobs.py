"""The steps of an evaluation as jobs of the loop: what a program makes of tables, and what a model is asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from sgpo_data.engines.loading import Loading
from sgpo_data.evaluation.judge.local import judging
from sgpo_data.evaluation.judge.stage import Judge
from sgpo_data.evaluation.judging import check_installed
from sgpo_data.execution import Execution
from sgpo_data.names import MadeName
from sgpo_data.references.model import Model
from sgpo_data.running.engines import Engines
from sgpo_data.running.job import StageJob
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.input import JobInput
from sgpo_data.store.manifest import Identity, InputRecord


@dataclass(frozen=True)
class ProgramJob:
    """A table that a program makes: questions, comparisons or grades."""

    identity: Identity
    writes: str
    inputs: tuple[JobInput, ...]
    options: BaseModel
    inlined: bool
    rows: int | None
    """As many as it makes, None if that depends on what its inputs hold."""
    work: Callable[[Path, Execution], Dataset]
    by_row: bool = False
    """Whether it makes a row of each that it reads, but for those that have no text."""

    @property
    def name(self) -> str:
        """Name of its folder in the store."""
        return str(MadeName.made(self.writes, self.identity.fingerprint))

    @property
    def models(self) -> tuple[()]:
        """None."""
        return ()

    @property
    def loadings(self) -> tuple[()]:
        """None."""
        return ()

    @property
    def costly(self) -> bool:
        """No: it runs no model."""
        return False

    @property
    def training(self) -> None:
        """None: it makes a dataset."""
        return None

    def check(self, execution: object) -> None:
        """Nothing: it runs no model."""

    def rows_made(self, rows: int) -> int | None:
        """How many rows it makes."""
        return rows if self.by_row else self.rows

    def output(self, folder: Path) -> JobInput:
        """What it makes, as the input of the next job."""
        return JobInput(InputRecord(reference=str(folder), table=self.writes, fingerprint=self.identity.fingerprint), folder, None, None)

    def make(self, folder: Path, execution: Execution, engines: object) -> Dataset:
        """The table in this folder, made now unless it was made before."""
        return self.work(folder, execution)


@dataclass(frozen=True)
class AskingJob:
    """A stage that asks a model, under the command of an evaluation: answers or verdicts."""

    job: StageJob
    options: BaseModel
    models: Sequence[tuple[str, Model]]

    @property
    def identity(self) -> Identity:
        """That of the stage."""
        return self.job.identity

    @property
    def name(self) -> str:
        """Name of its folder in the store."""
        return self.job.name

    @property
    def writes(self) -> str:
        """The table it makes."""
        return self.job.writes

    @property
    def inputs(self) -> tuple[JobInput, ...]:
        """The table it reads."""
        return self.job.inputs

    @property
    def loadings(self) -> tuple[Loading, ...]:
        """How its model is loaded."""
        return self.job.loadings

    @property
    def inlined(self) -> bool:
        """No: a command of its own makes it."""
        return False

    @property
    def costly(self) -> bool:
        """Yes: it runs a model."""
        return True

    @property
    def training(self) -> None:
        """None: it makes a dataset."""
        return None

    def check(self, execution: Execution) -> None:
        """Raises what asking would of its model, or of what counts verdicts."""
        if isinstance(self.job.stage, Judge):
            check_installed()
        self.job.check(execution)

    def rows_made(self, rows: int) -> int | None:
        """How many rows it makes from this many."""
        return self.job.rows_made(rows)

    def output(self, folder: Path) -> JobInput:
        """What it makes, as the input of the next job."""
        return self.job.output(folder)

    def make(self, folder: Path, execution: Execution, engines: Engines) -> Dataset:
        """The rows in this folder; those that are missing are asked for now."""
        if not isinstance(self.job.stage, Judge):
            return self.job.make(folder, execution, engines)
        with judging(self.job.stage, engines) as asked:
            return self.job.make(folder, execution, asked)
