"""A training: what decides its weights, known before it is done, and doing it once."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from time import monotonic
from typing import Protocol

from pydantic import JsonValue

from sgpo_data.errors import ModelError
from sgpo_data.execution import Execution
from sgpo_data.names import MODEL as HELD
from sgpo_data.names import TrainedModel
from sgpo_data.references.model import Model, content_digest, find_model, model_manifest
from sgpo_data.schema import schema
from sgpo_data.store.cost import done_before
from sgpo_data.store.dataset import WORK, Dataset, open_dataset
from sgpo_data.store.files import disk_error, put_in_place, write_text
from sgpo_data.store.input import JobInput
from sgpo_data.store.lock import Intent, claimed, freeze_plan, refuse_other
from sgpo_data.store.manifest import MANIFEST, Identity, ModelManifest, ModelRecord, git_commit, host, versions
from sgpo_data.training.authors import refuse_other_authors, refuse_other_policies
from sgpo_data.training.card import model_card
from sgpo_data.training.checkpoint import checkpoint_context, checkpoint_dtype
from sgpo_data.training.curves import LOG
from sgpo_data.training.nodes import ONE, Nodes, check_devices, wait_for_model
from sgpo_data.training.options import Train, TrainingLayout
from sgpo_data.training.sharding import check_sharding
from sgpo_data.training.task import CHECKPOINTS, MODEL, TrainingResult, TrainingTask
from sgpo_data.training.tracking import check_tracker

log = logging.getLogger(__name__)

REVISION = 3
"""Raised when the same rows begin to give another model."""


class OpenedEngines(Protocol):
    """What holds models in memory."""

    def close(self) -> None:
        """Frees it."""
        ...


@dataclass(frozen=True)
class TrainJob:
    """One model to be trained."""

    train: Train
    """With nothing left to be guessed."""
    inputs: tuple[JobInput, ...]
    """What is trained on, together: pairs (dpo) or examples (sft)."""
    start: Model
    reference: Model | None
    """The reference policy of dpo."""

    @property
    def identity(self) -> Identity:
        """All that decides the weights."""
        fields: JsonValue = self.train.model_dump(mode="json", exclude={"reference", *TrainingLayout.model_fields})
        models = {"start": self.start.record} | ({"reference": self.reference.record} if self.reference else {})
        version = schema(self.train.needs.reads).version
        inputs = tuple(given.record for given in self.inputs)
        return Identity(stage="train", revision=REVISION, schema_version=version, fields=fields, inputs=inputs, models=models)

    @property
    def name(self) -> str:
        """Name of its folder in the store."""
        return str(TrainedModel.made(self.identity.fingerprint).name)

    @property
    def longest(self) -> int:
        """Tokens of prompt and answer together, at most: as told, and as the model can read."""
        return min(self.train.max_tokens, checkpoint_context(self.start.config) or self.train.max_tokens)

    @property
    def origin(self) -> ModelRecord | None:
        """The model that the lineage of its data began with, None if no model wrote that data."""
        return next((given.origin for given in self.inputs if given.origin), None)

    @property
    def writes(self) -> str:
        """A model."""
        return HELD

    @property
    def models(self) -> Sequence[tuple[str, Model]]:
        """The model it starts from and, if that is another, the one it compares with, each with the flag that names it."""
        other = [self.reference] if self.reference is not None and self.reference.record.identity != self.start.record.identity else []
        return [("--model", self.start), *(("--reference", model) for model in other)]

    @property
    def loadings(self) -> tuple[()]:
        """None: what it runs on was looked for when it was planned."""
        return ()

    @property
    def options(self) -> Train:
        """How it trains; the reference is among its models."""
        return self.train.model_copy(update={"reference": type(self.train).model_fields["reference"].default})

    @property
    def inlined(self) -> bool:
        """No: a command of its own makes it."""
        return False

    @property
    def costly(self) -> bool:
        """Yes: it runs a model."""
        return True

    @property
    def training(self) -> "TrainJob":
        """Itself."""
        return self

    def check(self, execution: Execution) -> None:
        """Raises what training would of its models and of who wrote its pairs."""
        from sgpo_data.engines.local.weights import load_weights
        from sgpo_data.training.start import checked_start

        check_execution(execution, self.train)
        checked_start(self.start.config, self.train)
        if self.reference is not None and self.reference.config != self.start.config:
            load_weights(self.reference.config, dtype="float32", device="meta")
        if self.train.needs.reads == "pairs":
            refuse_other_authors(self.train, self.start.record.identity, self.inputs)

    def rows_made(self, rows: int) -> int:
        """The rows it trains on."""
        return rows

    def output(self, folder: Path) -> Model:
        """The model it makes, before it is made."""
        record = ModelRecord(identity=str(TrainedModel.made(self.identity.fingerprint)), location=str(folder.resolve()))
        return Model(folder, None, record, self.origin or record, config=self.start.config)

    def make(self, folder: Path, execution: Execution, engines: OpenedEngines) -> Model:
        """The model in this folder, trained now as far as it is not trained already.

        Raises what `do_train` raises.
        """
        if not _made(self, folder):
            # Training takes the memory that they hold.
            engines.close()
        return do_train(self, folder, execution)


def do_train(job: TrainJob, folder: Path, execution: Execution, nodes: Nodes = ONE) -> Model:
    """The model of this job in this folder, trained now as far as it is not trained already; by several machines, if each of them calls this.

    Raises DatasetError, ModelError, SchemaError, RecipeError or EngineError; the same call goes on from the last checkpoint that an error or a kill has left.
    """
    if _made(job, folder):
        log.info("%s: trained already", folder)
    else:
        check_execution(execution, job.train)
        if nodes.nodes > 1:
            check_devices(execution)
        datasets = [open_dataset(given.folder) for given in job.inputs]
        for dataset in datasets:
            dataset.verify()
        if job.train.needs.reads == "pairs":
            refuse_other_policies(job.train, job.start.record.identity, datasets)
        if nodes.node_rank:
            _help(job, folder, datasets, execution, nodes)
            return find_model(str(folder))
        with claimed(folder):
            if not _made(job, folder):
                freeze_plan(folder, Intent(identity=job.identity), begun=any((folder / WORK / CHECKPOINTS).glob("checkpoint-*")))
                _train(job, folder, datasets, execution, nodes)
    return find_model(str(folder))


def check_execution(execution: Execution, train: Train) -> None:
    """Raises MissingExtraError if a tracker or a library that is asked for is not installed, RecipeError if weights cannot be shared out so."""
    check_tracker(execution)
    check_sharding(execution, train)


def _made(job: TrainJob, folder: Path) -> bool:
    """Whether the folder holds this model whole.

    Raises DatasetError or ModelError if it holds something else.
    """
    if not (folder / MANIFEST).is_file():
        return False
    manifest = model_manifest(folder)
    if manifest is None:
        raise ModelError(f"{folder}: holds a model that was not trained here; give another -o")
    refuse_other(folder, manifest.identity, job.identity)
    return True


def _help(job: TrainJob, folder: Path, datasets: list[Dataset], execution: Execution, nodes: Nodes) -> None:
    """The share of a machine that is not the first: it trains, and the first one writes."""
    from sgpo_data.training.launch import run_task

    run_task(_task(job, folder / WORK, datasets, execution), nodes)
    wait_for_model(lambda: _made(job, folder))


def _train(job: TrainJob, folder: Path, datasets: list[Dataset], execution: Execution, nodes: Nodes) -> None:
    # PyTorch and TRL take seconds to import: only for work that needs them.
    from sgpo_data.training.launch import run_task

    before, started = done_before(folder / WORK), monotonic()
    task = _task(job, folder / WORK, datasets, execution)
    try:
        result = run_task(task, nodes)
        assert result is not None
        _put_in_place(folder)
        seconds = before.seconds + monotonic() - started
        manifest = _manifest(job, folder, result, seconds)
        write_text(folder / "README.md", model_card(manifest, job.start.record))
    except OSError as error:
        # Libraries raise it for much else; a disk is told by its number.
        if error.errno is None:
            raise
        raise disk_error(folder, error) from error
    write_text(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    rmtree(folder / WORK, ignore_errors=True)
    log.info("%s: %s", folder, _summary(job.train, manifest, result.steps))


def _task(job: TrainJob, work: Path, datasets: list[Dataset], execution: Execution) -> TrainingTask:
    start = _present(job.start)
    reference = None
    if job.reference and not (job.train.lora.rank and job.reference.record.identity == job.start.record.identity):
        reference = _present(job.reference).folder
    return TrainingTask(
        train=job.train,
        files=tuple(path for dataset in datasets for path in dataset.paths),
        start=start.folder,
        start_identity=start.record.identity,
        reference=reference,
        dtype=checkpoint_dtype(start.folder),
        longest=job.longest,
        work=work,
        seconds_before=done_before(work).seconds,
        devices=1,
        execution=execution,
    )


def _present(model: Model) -> Model:
    """The model as it lies there now, which has to be the one that was planned with."""
    found = find_model(str(model.folder))
    if found.record.identity != model.record.identity:
        raise ModelError(f"{model.folder}: is {found.record.identity} now, the training is of {model.record.identity}; run the same command again")
    return found


def _put_in_place(folder: Path) -> None:
    made = folder / WORK / MODEL
    for path in sorted(made.iterdir()):
        if path.is_dir():
            rmtree(folder / path.name, ignore_errors=True)
        put_in_place(path, folder / path.name)
    put_in_place(folder / WORK / LOG, folder / LOG)


def _summary(train: Train, manifest: ModelManifest, steps: int) -> str:
    left_out = f" ({manifest.left_out} longer than max_tokens left out)" if manifest.left_out else ""
    loss = f", last loss {manifest.metrics['loss']:.4f}" if "loss" in manifest.metrics else ""
    return f"{train.objective} on {manifest.rows} {train.needs.reads}{left_out}, {steps} steps in {manifest.seconds:.1f} s{loss}"


def _manifest(job: TrainJob, folder: Path, result: TrainingResult, seconds: float) -> ModelManifest:
    return ModelManifest(
        fingerprint=job.identity.fingerprint,
        identity=job.identity,
        origin=job.origin,
        weights=content_digest(folder),
        rows=result.rows,
        left_out=result.left_out,
        unusable=result.unusable,
        config=result.config,
        metrics=result.metrics,
        seconds=round(seconds, 3),
        tokens=result.tokens,
        deterministic=result.accelerator is None,
        created=datetime.now(UTC),
        host=host(result.accelerator),
        versions=versions(),
        git_commit=git_commit(),
    )
