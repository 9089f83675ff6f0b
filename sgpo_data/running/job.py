"""A stage, its input and its models: everything its fingerprint depends on, known before anything is made."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sgpo_data.engines.loading import Loading
from sgpo_data.errors import DatasetError
from sgpo_data.execution import Execution
from sgpo_data.names import MadeName
from sgpo_data.references.model import Model
from sgpo_data.running.engines import Engines
from sgpo_data.schema import schema
from sgpo_data.stages import ModelRole, Stage
from sgpo_data.store.dataset import Dataset, Readable, open_dataset
from sgpo_data.store.input import JobInput
from sgpo_data.store.manifest import Identity, InputRecord, ModelRecord
from sgpo_data.store.resume import make
from sgpo_data.store.unfinished import StageSummary, Unfinished


@dataclass(frozen=True)
class StageJob(ABC):
    """One dataset to be made from another."""

    stage: Stage
    """With every default resolved."""
    input: JobInput

    @property
    @abstractmethod
    def roles(self) -> tuple[tuple[ModelRole, Model], ...]:
        """The models it takes, the one that fills its rows first."""

    @property
    @abstractmethod
    def loadings(self) -> tuple[Loading, ...]:
        """How each of its models is loaded."""

    @abstractmethod
    def part_rows(self, execution: Execution) -> int:
        """How many rows each part of its output holds."""

    @abstractmethod
    def fill(self, into: Unfinished, source: Readable, execution: Execution, engines: Engines) -> StageSummary:
        """Makes every missing row from a source that has at least one."""

    @property
    def identity(self) -> Identity:
        """All that decides the rows."""
        return Identity(
            stage=self.stage.stage_name,
            revision=self.stage.revision,
            schema_version=schema(self.writes).version,
            fields=self.stage.identity(),
            inputs=tuple(given.record for given in self.inputs),
            models={role.name: model.record for role, model in self.roles},
        )

    @property
    def name(self) -> str:
        """Name of its folder in the store."""
        return str(MadeName.made(self.writes, self.identity.fingerprint))

    @property
    def writes(self) -> str:
        """The table it makes."""
        return self.stage.writes

    @property
    def inputs(self) -> tuple[JobInput, ...]:
        """The one dataset it reads."""
        return (self.input,)

    @property
    def models(self) -> Sequence[tuple[str, Model]]:
        """Its models, each with the flag that names it."""
        return [(role.flag, model) for role, model in self.roles]

    @property
    def options(self) -> Stage:
        """The stage: its fields are the flags."""
        return self.stage

    @property
    def inlined(self) -> bool:
        """No: the stage has a command of its own."""
        return False

    @property
    def costly(self) -> bool:
        """Whether it runs a model."""
        return bool(self.loadings)

    @property
    def training(self) -> None:
        """None: it makes a dataset."""
        return None

    @property
    def origin(self) -> ModelRecord | None:
        """The model that the lineage began with."""
        return self.input.origin or next((model.origin for _, model in self.roles), None)

    @abstractmethod
    def check(self, execution: Execution) -> None:
        """Raises what opening its models would, as far as it shows without loading them."""

    def rows_made(self, rows: int) -> int | None:
        """How many rows it makes from this many; None if that depends on what they hold."""
        return self.stage.rows_made(rows)

    def output(self, folder: Path) -> JobInput:
        """What it makes, as the input of the next job."""
        policy = next((model.record for role, model in self.roles if role.name == "policy"), self.input.policy)
        record = InputRecord(reference=str(folder), table=self.writes, fingerprint=self.identity.fingerprint)
        return JobInput(record, folder, self.origin, policy)

    def make(self, folder: Path, execution: Execution, engines: Engines) -> Dataset:
        """The dataset in this folder; whatever is missing is made now.

        Raises DatasetError, SchemaError or EngineError; the same call resumes after an error or a kill.
        """
        work = partial(self._filled, execution=execution, engines=engines)
        return make(folder, self.identity, table=self.writes, part_rows=self.part_rows(execution), work=work)

    def source(self) -> Readable:
        """The dataset it reads.

        Raises DatasetError if that has no rows.
        """
        source = self.input.dataset or open_dataset(self.input.folder)
        if source.manifest.rows == 0:
            raise DatasetError(
                f"{source.reference}: has no rows, so there is nothing to {self.stage.stage_name}; look at it with: sgpo inspect {source.reference}"
            )
        return source

    def _filled(self, into: Unfinished, execution: Execution, engines: Engines) -> StageSummary:
        return self.fill(into, self.source(), execution, engines)
