"""Running a stage: plan, skip what is made, read, run, check against the schema, record."""

import logging
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from sgpo_data.dataset import WORK, Dataset, open_dataset
from sgpo_data.engines.loading import Loading, open_engine, resolved, scorer_of
from sgpo_data.errors import DatasetError
from sgpo_data.execution import Execution
from sgpo_data.job import Job, given_input, input_of, planned
from sgpo_data.model import Model, find_model
from sgpo_data.progress import progress
from sgpo_data.reading import Source
from sgpo_data.resume import make
from sgpo_data.schema import schema
from sgpo_data.sourced import read_prompts
from sgpo_data.stages import GeneratingStage, RowStage, ScoringStage, Stage, TableStage
from sgpo_data.stream import CountedGenerator, CountedScorer, Fill, stream
from sgpo_data.unfinished import Found, Unfinished

if TYPE_CHECKING:
    from sgpo_data.engines.loading import Engine

log = logging.getLogger(__name__)
# A part of a table-wise stage is written in one go, so it can be as large as is good for readers.
TABLE_PART_ROWS = 131072


def run(
    stage: Stage,
    reference: str,
    *,
    out: Path | None = None,
    model: str | None = None,
    adapter: str | None = None,
    source: Source | None = None,
    execution: Execution | None = None,
) -> Dataset:
    """The dataset that the stage makes of the input, made now as far as it is not made already.

    `reference` is a dataset, or for a stage that reads prompts a raw source, read as `source` says. Without `out` it goes to the store.
    Raises DatasetError, SchemaError or EngineError; the same call takes up what an error or a kill has left.
    """
    execution = execution or Execution()
    # Looked for first: a model that is not there is no reason to read a million prompts.
    found = None if model is None else find_model(model, adapter)
    given = given_input(reference, execution.root)
    if given is None:
        if "prompts" not in stage.reads:
            raise DatasetError(f"{reference}: no such dataset; {stage.stage_name} reads {' or '.join(stage.reads)}, as the stage before it wrote it")
        given = input_of(read_prompts(reference, source or Source(), execution), reference)
    job = planned(stage, given, model=found)
    return do(job, out or execution.store / job.name, execution)


class Engines:
    """The engine that is open, kept for the next job of the same model; one at a time, since it may fill the memory."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._key: tuple[Loading, str] | None = None
        self._engine: Engine | None = None

    def opened(self, loading: Loading, model: Model) -> "Engine":
        """The engine of this model, loaded unless it is the one that is open; any other is closed first."""
        key = (loading, model.record.identity)
        if self._engine is None or self._key != key:
            self.close()
            how = self._execution
            self._engine = open_engine(
                loading,
                model.folder,
                adapter=model.adapter,
                endpoint=model.endpoint,
                device=how.device,
                batch_tokens=how.batch_tokens,
                window=how.window,
                tensor_parallel=how.tensor_parallel,
                memory_share=how.memory_share,
                base_url=how.base_url,
                key_variable=how.key_variable,
                request_seconds=how.request_seconds,
            )
            self._key = key
        return self._engine

    def close(self) -> None:
        """Frees the memory of the model."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()


def do(job: Job, folder: Path, execution: Execution, *, engines: Engines | None = None) -> Dataset:
    """The dataset of this job in this folder, made now as far as it is not made already.

    Without `engines`, its own engine is closed when it is done or has failed.
    """
    part_rows = execution.part_rows if isinstance(job.stage, RowStage) else TABLE_PART_ROWS
    work = partial(_work, job, execution=execution, engines=engines)
    return make(folder, job.identity, table=job.stage.writes, part_rows=part_rows, work=work)


def _work(job: Job, into: Unfinished, execution: Execution, engines: Engines | None) -> Found:
    source = open_dataset(job.given.folder)
    if source.manifest.rows == 0:
        raise DatasetError(f"{source.folder}: has no rows, so there is nothing to {job.stage.stage_name}; look at it with: sgpo inspect {source.folder}")
    if isinstance(job.stage, TableStage):
        return _decide(job.stage, source, into)
    assert isinstance(job.stage, RowStage)
    assert job.model is not None
    if engines is None:
        with closing(Engines(execution)) as own:
            _fill(job.stage, source, job.model, into, execution, own)
    else:
        _fill(job.stage, source, job.model, into, execution, engines)
    return Found(source.manifest.rows, job.stage.outcome, origin=job.origin, exact=job.stage.dtype == "float32")


def _decide(stage: TableStage, source: Dataset, into: Unfinished) -> Found:
    with duckdb.connect(config={"temp_directory": str(into.folder / WORK / "spill")}) as con:
        source.relation(con).create_view("input")
        decided = stage.table(con, source.table)
        for warning in decided.warnings:
            log.warning("%s: %s", stage.stage_name, warning)
        into.write_all(decided.rows.to_arrow_reader(TABLE_PART_ROWS).cast(schema(stage.writes).arrow))
    if stage.needs_rows and not into.files:
        raise DatasetError(f"{stage.stage_name}: no row of {source.folder} is left to make {stage.writes} of; see why with: sgpo inspect {source.folder}")
    return Found(source.manifest.rows, stage.outcome, origin=source.manifest.origin, facts=decided.facts, warnings=decided.warnings)


def _fill(stage: RowStage, source: Dataset, model: Model, into: Unfinished, execution: Execution, engines: Engines) -> None:
    rows = source.manifest.rows * len(list(stage.items(next(source.rows()))))
    with progress(stage.stage_name, rows, style=execution.progress) as report:
        stream(stage, source.rows(), into, author=model.record.identity, opened=partial(_opened, stage, model, into, engines), report=report)


def _opened(stage: RowStage, model: Model, into: Unfinished, engines: Engines) -> Fill:
    loading = resolved(stage.engine, stage.dtype, stage.context_tokens, model.config, work=stage.work, quantization=stage.quantization, endpoint=model.endpoint)
    engine = engines.opened(loading, model)
    into.accelerator = engine.accelerator
    if isinstance(stage, GeneratingStage):
        return partial(stage.rows, generator=CountedGenerator(engine, into), author=model.record.identity)
    if isinstance(stage, ScoringStage):
        return partial(stage.rows, scorer=CountedScorer(scorer_of(engine), into), author=model.record.identity)
    raise AssertionError(stage)
