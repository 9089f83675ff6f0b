"""A table-wise stage over its input: decided in one go, in SQL."""

import logging
from dataclasses import dataclass

import pyarrow as pa

from sgpo_data.engines.loading import Loading
from sgpo_data.errors import DatasetError
from sgpo_data.execution import Execution
from sgpo_data.references.model import Model
from sgpo_data.running.deciding import deciding
from sgpo_data.running.engines import Engines
from sgpo_data.running.job import StageJob
from sgpo_data.stages import ModelRole, TableStage
from sgpo_data.store.at_once import aligned, write_all, write_beside
from sgpo_data.store.dataset import WORK, Dataset, Readable, open_dataset
from sgpo_data.store.input import JobInput
from sgpo_data.store.unfinished import StageSummary, Unfinished

log = logging.getLogger(__name__)
# A part of a table-wise stage is written in one go, so it can be as large as is good for readers.
PART_ROWS = 131072
READ_ROWS = 8192


@dataclass(frozen=True)
class TableJob(StageJob):
    """A dataset that is decided over the whole of its input, without a model."""

    stage: TableStage
    verdicts: JobInput | None = None
    """On its rows, where some are given."""

    @property
    def inputs(self) -> tuple[JobInput, ...]:
        """The dataset it reads, and the verdicts on it."""
        return (self.input,) if self.verdicts is None else (self.input, self.verdicts)

    @property
    def roles(self) -> tuple[tuple[ModelRole, Model], ...]:
        """None."""
        return ()

    @property
    def loadings(self) -> tuple[Loading, ...]:
        """None."""
        return ()

    def check(self, execution: Execution) -> None:
        """Nothing: it has no models."""

    def part_rows(self, execution: Execution) -> int:
        """As large as is good for readers."""
        return PART_ROWS

    def fill(self, into: Unfinished, source: Readable, execution: Execution, engines: Engines) -> StageSummary:
        """Makes all rows.

        Raises DatasetError if its input is not what the manifest says, or if no row is left and the stage needs some.
        """
        stage = self.stage
        verdicts = None if self.verdicts is None else self.verdicts.dataset or open_dataset(self.verdicts.folder)
        for given in (source, verdicts):
            if isinstance(given, Dataset):
                given.verify()
        with deciding(source, into.folder / WORK / "spill", verdicts=verdicts) as con:
            decided = stage.table(con, source.table)
            for warning in decided.warnings:
                log.warning("%s: %s", stage.stage_name, warning)
            if decided.beside is not None and verdicts is None and aligned(source.manifest, into.plan.part_rows):
                added = pa.schema([pa.field("position", pa.int64()), *into.schema.own.arrow])
                write_beside(into, decided.beside.to_arrow_reader(READ_ROWS).cast(added), source)
            else:
                write_all(into, decided.rows.to_arrow_reader(READ_ROWS).cast(into.schema.arrow))
        if stage.needs_rows and not into.files:
            raise DatasetError(
                f"{stage.stage_name}: no row of {source.reference} is left to make {stage.writes} of; see why with: sgpo inspect {source.reference}"
            )
        return StageSummary(source.manifest.rows, stage.outcome, origin=source.manifest.origin, facts=decided.facts, warnings=decided.warnings)
