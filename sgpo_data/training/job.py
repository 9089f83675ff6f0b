"""A training: what decides its weights, known before it is done, and doing it once."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from time import monotonic

from pydantic import JsonValue

from sgpo_data.connection import connected
from sgpo_data.engines.loading import DTYPES
from sgpo_data.errors import MissingExtraError, ModelError, RecipeError, SchemaError
from sgpo_data.execution import Execution
from sgpo_data.names import GIVEN, TrainedModel, model_identity
from sgpo_data.references.model import Model, content_digest, find_model, model_manifest, recorded_model
from sgpo_data.schema import schema
from sgpo_data.store.cost import done_before
from sgpo_data.store.dataset import WORK, Dataset, open_dataset
from sgpo_data.store.files import disk_error, put_in_place, write_text
from sgpo_data.store.input import Given
from sgpo_data.store.lock import Intent, claimed, frozen_plan, refuse_other
from sgpo_data.store.manifest import MANIFEST, Identity, ModelManifest, ModelRecord, git_commit, host, versions
from sgpo_data.training.card import model_card
from sgpo_data.training.curves import LOG
from sgpo_data.training.options import OBJECTIVES, Train
from sgpo_data.training.settings import trl_faults
from sgpo_data.training.task import CHECKPOINTS, MODEL, Task, Trained

log = logging.getLogger(__name__)

REVISION = 2
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")
"""What a training imports, at its first step."""


@dataclass(frozen=True)
class TrainJob:
    """One model to be trained."""

    train: Train
    """With nothing left to be guessed."""
    inputs: tuple[Given, ...]
    """What is trained on, together: pairs (dpo) or examples (sft)."""
    start: Model
    reference: Model | None
    """The reference policy of dpo."""

    @property
    def identity(self) -> Identity:
        """All that decides the weights."""
        fields: JsonValue = self.train.model_dump(mode="json", exclude={"reference"})
        models = {"start": self.start.record} | ({"reference": self.reference.record} if self.reference else {})
        version = schema(self.train.needs.reads).version
        inputs = tuple(given.record for given in self.inputs)
        return Identity(stage="train", revision=REVISION, schema_version=version, fields=fields, inputs=inputs, models=models)

    @property
    def name(self) -> str:
        """Name of its folder in the store."""
        return str(TrainedModel.made(self.identity.fingerprint).name)

    @property
    def origin(self) -> ModelRecord | None:
        """The model that the lineage of its data began with, None if no model wrote that data."""
        return next((given.origin for given in self.inputs if given.origin), None)

    def output(self, folder: Path) -> Model:
        """The model it makes, before it is made."""
        record = ModelRecord(identity=str(TrainedModel.made(self.identity.fingerprint)), location=str(folder.resolve()))
        return Model(folder, None, record, self.origin or record, config=self.start.config)


def planned_training(train: Train, inputs: tuple[Given, ...], start: Model, *, reference: Model | None = None) -> TrainJob:
    """The training of this start on these inputs, every default written out.

    Without `reference` it is the one the options name. Models in `allow_policies` become their identities.
    Raises MissingExtraError without the models extra, SchemaError if an input is of the wrong table, RecipeError if an option makes no sense,
    ModelError if a model is not there.
    """
    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError("models", package)
    wanted = train.needs.reads
    for given in inputs:
        if given.record.table != wanted:
            other = next((name for name, each in OBJECTIVES.items() if each.reads == given.record.table), None)
            hint = f"; give --objective {other}" if other else f"; make {wanted} with sgpo pair"
            raise SchemaError(f"{given.record.reference}: holds {given.record.table}; train with objective {train.objective} reads {wanted}{hint}")
    faults = trl_faults(train)
    if faults:
        raise RecipeError(f"train: {'; '.join(map(str, faults))}")
    endpoint = start.endpoint or (reference and reference.endpoint)
    if endpoint:
        raise RecipeError(f"train: {endpoint} is a model at a server, whose weights are not here; start from a model folder or a Hub model")
    if start.adapter or (reference and reference.adapter):
        raise RecipeError("train: starts from a whole model and compares with one, not with an adapter over it; merge the adapter into its model first")
    allowed = tuple(sorted({_identity(each) for each in train.allow_policies}))
    rate = train.needs.learning_rate if train.learning_rate is None else train.learning_rate
    frozen = train.model_copy(update={"learning_rate": rate, "allow_policies": allowed})
    return TrainJob(frozen, inputs, start, (reference or _reference(train, start)) if train.needs.compares else None)


def do_train(job: TrainJob, folder: Path, execution: Execution) -> Model:
    """The model of this job in this folder, trained now as far as it is not trained already.

    Raises DatasetError, ModelError, SchemaError, RecipeError or EngineError; the same call goes on from the last checkpoint that an error or a kill has left.
    """
    if _made(job, folder):
        log.info("%s: trained already", folder)
    else:
        datasets = [open_dataset(given.folder) for given in job.inputs]
        if job.train.needs.reads == "pairs":
            refuse_other_policies(job, datasets)
        with claimed(folder):
            if not _made(job, folder):
                frozen_plan(folder, Intent(identity=job.identity), begun=any((folder / WORK / CHECKPOINTS).glob("checkpoint-*")))
                _train(job, folder, datasets, execution)
    return find_model(str(folder))


def refuse_other_policies(job: TrainJob, datasets: list[Dataset]) -> None:
    """Nothing if every pair was written by the model that training starts from, or by one that is allowed.

    Raises RecipeError with the identities found and their rows.
    """
    counts: dict[str, int] = {}
    for dataset in datasets:
        with connected() as con:
            found = dataset.relation(con).aggregate(f"coalesce(policy, '{GIVEN}') AS author, count(*) AS rows", "author").order("author").fetchall()
        for author, rows in found:
            counts[str(author)] = counts.get(str(author), 0) + int(rows)
    others = {author: counts[author] for author in _others(job, counts)}
    if others:
        listed = ", ".join(f"{rows} by {author}" for author, rows in others.items())
        raise RecipeError(
            f"train: {sum(others.values())} of {sum(counts.values())} pairs are not by the model that training starts from, {job.start.record.identity}: "
            f"{listed}; make pairs with it, or say that these are meant: {_told(others)}"
        )


def refuse_other_authors(job: TrainJob, inputs: Iterable[Given]) -> None:
    """As `refuse_other_policies`, for pairs that are still to be made: all of an input are by the policy of its lineage, or given.

    Raises RecipeError with the identities.
    """
    others = _others(job, [GIVEN if given.policy is None else given.policy.identity for given in inputs])
    if others:
        raise RecipeError(
            f"train: the pairs will be by {', '.join(others)}, not by the model that training starts from, {job.start.record.identity}; "
            f"make pairs with it, or say that these are meant: {_told(others)}"
        )


def _others(job: TrainJob, authors: Iterable[str]) -> list[str]:
    return [author for author in dict.fromkeys(authors) if author != job.start.record.identity and author not in job.train.allow_policies]


def _told(authors: Iterable[str]) -> str:
    return " ".join(f"--allow_policies {author}" for author in authors)


def _identity(policy: str) -> str:
    return policy if policy == GIVEN or model_identity(policy) is not None else find_model(policy).record.identity


def _reference(train: Train, start: Model) -> Model:
    if train.reference == "start":
        return start
    if train.reference == "origin":
        return start if start.origin == start.record else recorded_model(start.origin, flag="--reference")
    return find_model(train.reference)


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


def _train(job: TrainJob, folder: Path, datasets: list[Dataset], execution: Execution) -> None:
    # PyTorch and TRL take seconds to import: only for work that needs them.
    from sgpo_data.training.launch import run_task

    before, started = done_before(folder), monotonic()
    task = _task(job, folder / WORK, datasets, execution)
    try:
        result = run_task(task)
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


def _task(job: TrainJob, work: Path, datasets: list[Dataset], execution: Execution) -> Task:
    start = _present(job.start)
    reference = None
    if job.reference and not (job.train.lora.rank and job.reference.record.identity == job.start.record.identity):
        reference = _present(job.reference).folder
    dtype, context = _shape(start.folder)
    return Task(
        train=job.train,
        files=tuple(path for dataset in datasets for path in dataset.paths),
        start=start.folder,
        start_identity=start.record.identity,
        reference=reference,
        dtype=dtype,
        longest=min(job.train.max_tokens, context or job.train.max_tokens),
        work=work,
        seconds_before=done_before(work.parent).seconds,
        devices=1,
        execution=execution,
    )


def _shape(folder: Path) -> tuple[str, int | None]:
    """Type of the weights, and the longest context if the model has one."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); give a model folder") from error
    dtype, context = config.get("dtype") or config.get("torch_dtype"), config.get("max_position_embeddings") or config.get("n_positions")
    return dtype if dtype in DTYPES else "float32", context if isinstance(context, int) else None


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


def _manifest(job: TrainJob, folder: Path, result: Trained, seconds: float) -> ModelManifest:
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
