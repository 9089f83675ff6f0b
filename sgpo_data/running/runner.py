"""Running a stage: plan, skip what is made, read, run, check against the schema, record."""

import logging
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from sgpo_data.engines import Generator
from sgpo_data.engines.loading import Loading, resolved
from sgpo_data.engines.opening import scorer_of
from sgpo_data.errors import DatasetError, RecipeError
from sgpo_data.execution import Execution
from sgpo_data.progress import Report, progress
from sgpo_data.references.dataset import missing
from sgpo_data.references.model import Model, find_model
from sgpo_data.running.deciding import deciding
from sgpo_data.running.engines import Engines, OpenedModel, OpenModel, open_model
from sgpo_data.running.job import Job, given_input, planned
from sgpo_data.running.stream import Fill, Lane, Measure, Overlap, generated, measured, stream
from sgpo_data.schema import schema
from sgpo_data.sources.options import Source
from sgpo_data.sources.prompts import read_prompts
from sgpo_data.stages import GeneratingStage, RowStage, ScoringStage, Stage, TableStage
from sgpo_data.stages.improve.templates import recorded_templates
from sgpo_data.store.dataset import WORK, Dataset, Readable, open_dataset
from sgpo_data.store.input import input_of
from sgpo_data.store.resume import finished, make, taken_up
from sgpo_data.store.unfinished import Found, Unfinished

log = logging.getLogger(__name__)
# A part of a table-wise stage is written in one go, so it can be as large as is good for readers.
TABLE_PART_ROWS = 131072
READ_ROWS = 8192


def run(
    stage: Stage,
    reference: str,
    *,
    out: Path | None = None,
    model: str | None = None,
    adapter: str | None = None,
    reward_model: str | None = None,
    source: Source | None = None,
    execution: Execution | None = None,
    open_model: OpenModel = open_model,
) -> Dataset:
    """The dataset that the stage makes of the input, made now as far as it is not made already.

    `reference` is a dataset, or for a stage that reads prompts a raw source, read as `source` says. Without `out` it goes to the store.
    `open_model` loads the model, if a row needs it; it is closed when the dataset is made.
    Raises DatasetError, SchemaError or EngineError; the same call takes up what an error or a kill has left.
    """
    execution = execution or Execution()
    job = job_of(stage, reference, model=model, adapter=adapter, reward_model=reward_model, source=source, execution=execution)
    with closing(Engines(execution, open_model=open_model)) as engines:
        return do(job, out or execution.store / job.name, execution, engines=engines)


def job_of(
    stage: Stage,
    reference: str,
    *,
    model: str | None,
    adapter: str | None,
    source: Source | None,
    execution: Execution,
    reward_model: str | None = None,
) -> Job:
    """The stage over this input, as `run` takes them; prompts of a raw source are read, and an input on the Hub is fetched.

    Raises DatasetError or SchemaError if the input is missing or of the wrong kind, HubError if the Hub fails.
    """
    # Looked for first: a model that is not there is no reason to read a million prompts.
    found = None if model is None else find_model(model, adapter)
    rewarding = None if reward_model is None else find_model(reward_model)
    given = given_input(reference, execution.root, stream=execution.stream)
    if given is None:
        if "prompts" not in stage.reads:
            raise DatasetError(f"{missing(reference, execution.root)}; {stage.stage_name} reads {' or '.join(stage.reads)}, as the stage before it wrote it")
        given = input_of(read_prompts(reference, source or Source(), execution), reference)
    return planned(stage, given, model=found, reward_model=rewarding)


def do(job: Job, folder: Path, execution: Execution, *, engines: Engines) -> Dataset:
    """The dataset of this job in this folder, made now as far as it is not made already."""
    part_rows = execution.part_rows if isinstance(job.stage, RowStage) else TABLE_PART_ROWS
    work = partial(_work, job, execution=execution, engines=engines)
    return make(folder, job.identity, table=job.stage.writes, part_rows=part_rows, work=work)


def overlap(first: Job, second: Job) -> bool:
    """Whether the second can start on a row of the first while that is being made: one model, loaded in one way, writes both."""
    return (
        isinstance(first.stage, GeneratingStage)
        and isinstance(second.stage, GeneratingStage)
        and first.model is not None
        and second.model is not None
        and second.given.record.fingerprint == first.identity.fingerprint
        and second.model.record.identity == first.model.record.identity
        and loading_of(second.stage, second.model) == loading_of(first.stage, first.model)
    )


def do_both(
    first: Job, second: Job, folders: tuple[Path, Path], execution: Execution, *, engines: Engines, first_made: Callable[[], None] = lambda: None
) -> None:
    """The datasets of two jobs that overlap, in these folders: the same as one after the other, as one stream.

    The one is finished as soon as it is whole, and `first_made` is called, the other after it. What either of them has of earlier sessions is kept.
    """
    with (
        taken_up(folders[0], first.identity, table=first.stage.writes, part_rows=execution.part_rows) as into,
        taken_up(folders[1], second.identity, table=second.stage.writes, part_rows=execution.part_rows) as then,
    ):
        if into is not None and then is not None:
            _fill_both(first, second, (into, then), execution, engines, first_made)
            return
    # Another process has finished one of them just now.
    do(first, folders[0], execution, engines=engines)
    first_made()
    do(second, folders[1], execution, engines=engines)


def _fill_both(first: Job, second: Job, into: tuple[Unfinished, Unfinished], execution: Execution, engines: Engines, first_made: Callable[[], None]) -> None:
    source = _source(first)
    _check_fit(second.stage, source)
    rows = _rows_of(first.stage, source)

    def opened() -> Generator:
        stage, model = first.stage, first.model
        assert isinstance(stage, RowStage)
        assert model is not None
        engine = _engine(stage, model, into[0], engines)
        into[1].accelerator = into[0].accelerator
        return engine

    def first_whole() -> None:
        finished(into[0], _found(first, source.manifest.rows))
        first_made()

    with progress({first.stage.stage_name: rows, second.stage.stage_name: rows}, style=execution.progress) as (of_first, of_second):
        lanes = Overlap(_lane(first, into[0], of_first), _lane(second, into[1], of_second), source.rows())
        lanes.stream(opened, first_whole=first_whole)
    finished(into[1], _found(second, rows))


def _lane(job: Job, into: Unfinished, report: Report) -> Lane:
    assert isinstance(job.stage, GeneratingStage)
    assert job.model is not None
    return Lane(job.stage, into, job.model.record.identity, report)


def _source(job: Job) -> Readable:
    source = job.given.dataset or open_dataset(job.given.folder)
    if source.manifest.rows == 0:
        raise DatasetError(f"{source.reference}: has no rows, so there is nothing to {job.stage.stage_name}; look at it with: sgpo inspect {source.reference}")
    return source


def _check_fit(stage: Stage, source: Readable) -> None:
    if isinstance(stage, RowStage) and (why := stage.unfit(source.rows())):
        raise RecipeError(f"{stage.stage_name}: {source.reference}: {why}")


def _work(job: Job, into: Unfinished, execution: Execution, engines: Engines) -> Found:
    source = _source(job)
    _check_fit(job.stage, source)
    if isinstance(job.stage, TableStage):
        return _decide(job.stage, source, into)
    assert isinstance(job.stage, RowStage)
    assert job.model is not None
    _fill(job, source, into, execution, engines)
    return _found(job, source.manifest.rows)


def _found(job: Job, rows_in: int) -> Found:
    assert isinstance(job.stage, RowStage)
    types = {job.stage.dtype}
    if isinstance(job.stage, ScoringStage) and job.reward_model is not None:
        types.add(job.stage.reward.dtype)
    return Found(rows_in, job.stage.outcome, origin=job.origin, exact=types == {"float32"})


def _decide(stage: TableStage, source: Readable, into: Unfinished) -> Found:
    with deciding(source, into.folder / WORK / "spill") as con:
        decided = stage.table(con, source.table)
        for warning in decided.warnings:
            log.warning("%s: %s", stage.stage_name, warning)
        into.write_all(decided.rows.to_arrow_reader(READ_ROWS).cast(schema(stage.writes).arrow))
    if stage.needs_rows and not into.files:
        raise DatasetError(f"{stage.stage_name}: no row of {source.reference} is left to make {stage.writes} of; see why with: sgpo inspect {source.reference}")
    return Found(source.manifest.rows, stage.outcome, origin=source.manifest.origin, facts=decided.facts, warnings=decided.warnings)


def _fill(job: Job, source: Readable, into: Unfinished, execution: Execution, engines: Engines) -> None:
    stage, model = job.stage, job.model
    assert isinstance(stage, RowStage)
    assert model is not None
    with progress({stage.stage_name: _rows_of(stage, source)}, style=execution.progress) as (report,):
        stream(stage, source.rows(), into, author=model.record.identity, opened=partial(_opened, job, stage, model, source, into, engines), report=report)


def _rows_of(stage: Stage, source: Readable) -> int:
    """Rows that a row-wise stage makes of a source that has some."""
    assert isinstance(stage, RowStage)
    return source.manifest.rows * len(list(stage.items(next(source.rows()))))


def loading_of(stage: RowStage, model: Model) -> Loading:
    """How a planned stage loads its model."""
    return resolved(
        stage.engine, stage.dtype, stage.context_tokens, model.config, work=stage.work, quantization=stage.quantization, endpoint=model.endpoint, chat=stage
    )


def _engine(stage: RowStage, model: Model, into: Unfinished, engines: Engines) -> OpenedModel:
    engine = engines.opened(loading_of(stage, model), model)
    into.accelerator = engine.accelerator
    return engine


def _opened(job: Job, stage: RowStage, model: Model, source: Readable, into: Unfinished, engines: Engines) -> Fill:
    engine = _engine(stage, model, into, engines)
    if isinstance(stage, GeneratingStage):
        return generated(stage, engine, model.record.identity)
    if isinstance(stage, ScoringStage):
        rows = partial(stage.rows, author=model.record.identity, templates=recorded_templates(source.manifest.identity.fields))
        return measured(rows if job.reward_model is None else _rewarding(rows, stage, job.reward_model, engines), scorer_of(engine))
    raise AssertionError(stage)


def _rewarding(scoring: Measure, stage: ScoringStage, model: Model, engines: Engines) -> Measure:
    """The same rows, with their rewards."""
    loading = resolved("transformers", stage.reward.dtype, stage.reward.context_tokens, model.config, work="score")
    rewarder = engines.rewarder(loading, model)
    return lambda rows, scorer: stage.rewarded(scoring(rows, scorer), rewarder, model.record.identity)
