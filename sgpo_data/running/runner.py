"""Running a stage: plan, skip what is made, read, run, check against the schema, record."""

from contextlib import closing
from pathlib import Path

from sgpo_data.errors import DatasetError
from sgpo_data.execution import Execution
from sgpo_data.references.dataset import existing, find_readable, missing
from sgpo_data.references.model import find_model
from sgpo_data.running.engines import Engines, OpenModel, open_model
from sgpo_data.running.job import StageJob
from sgpo_data.running.planning import planned
from sgpo_data.sources.options import Source
from sgpo_data.sources.prompts import read_prompts
from sgpo_data.stages import Stage
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.input import JobInput, input_of


def run(
    stage: Stage,
    reference: str,
    *,
    out: Path | None = None,
    model: str | None = None,
    adapter: str | None = None,
    reward_model: str | None = None,
    verdicts: str | None = None,
    source: Source | None = None,
    execution: Execution | None = None,
    open_model: OpenModel = open_model,
) -> Dataset:
    """The dataset that the stage makes from the input; whatever is missing is made now.

    `reference` is a dataset, or for a stage that reads prompts a raw source, read as `source` says. Without `out` it goes to the store.
    `open_model` loads the model, if a row needs it; it is closed when the dataset is made.
    Raises DatasetError, SchemaError or EngineError; the same call resumes after an error or a kill.
    """
    execution = execution or Execution()
    job = job_of(stage, reference, model=model, adapter=adapter, reward_model=reward_model, verdicts=verdicts, source=source, execution=execution)
    with closing(Engines(execution, open_model=open_model)) as engines:
        return job.make(out or execution.store / job.name, execution, engines)


def job_of(
    stage: Stage,
    reference: str,
    *,
    model: str | None,
    adapter: str | None,
    source: Source | None,
    execution: Execution,
    reward_model: str | None = None,
    verdicts: str | None = None,
) -> StageJob:
    """The stage over this input, as `run` takes them; prompts of a raw source are read, and an input on the Hub is fetched.

    Raises DatasetError or SchemaError if the input is missing or of the wrong kind, HubError if the Hub fails.
    """
    # Looked for first: a model that is not there is no reason to read a million prompts.
    found = None if model is None else find_model(model, adapter)
    rewarding = None if reward_model is None else find_model(reward_model)
    given = find_input(reference, execution.root, stream=execution.stream)
    if given is None:
        if "prompts" not in stage.reads:
            raise DatasetError(f"{missing(reference, execution.root)}; {stage.stage_name} reads {' or '.join(stage.reads)}, as the stage before it wrote it")
        given = input_of(read_prompts(reference, source or Source(), execution), reference)
    judged = None if verdicts is None else input_of(existing(verdicts, execution.root), verdicts)
    return planned(stage, given, model=found, reward_model=rewarding, verdicts=judged)


def find_input(reference: str, root: Path, *, stream: bool = False) -> JobInput | None:
    """The dataset of this reference, None if there is none; one on the Hub is fetched or, with `stream`, read where it lies.

    Raises DatasetError if it was never finished, HubError if the Hub cannot be asked.
    """
    dataset = find_readable(reference, root, stream=stream)
    return None if dataset is None else input_of(dataset, reference)
