"""A stage with its input and its model resolved: what a fingerprint is taken of, known before anything is made."""

from dataclasses import dataclass, replace
from pathlib import Path

from sgpo_data.engines.loading import NO_ADAPTED_SCORER, resolved
from sgpo_data.errors import DatasetError, RecipeError, SchemaError
from sgpo_data.names import MadeName
from sgpo_data.references.dataset import find_readable
from sgpo_data.references.model import Model, recorded_model
from sgpo_data.schema import schema
from sgpo_data.stages import RowStage, ScoringStage, Stage
from sgpo_data.store.input import Given, input_of
from sgpo_data.store.manifest import Identity, InputRecord, ModelRecord


@dataclass(frozen=True)
class Job:
    """One dataset to be made."""

    stage: Stage
    """With nothing left to be guessed."""
    given: Given
    model: Model | None
    reward_model: Model | None = None

    @property
    def identity(self) -> Identity:
        """All that decides the rows."""
        models: dict[str, ModelRecord] = {}
        if isinstance(self.stage, RowStage) and self.model is not None:
            models[self.stage.model_role.name] = self.model.record
        if isinstance(self.stage, ScoringStage) and self.reward_model is not None:
            models[self.stage.reward_role.name] = self.reward_model.record
        return Identity(
            stage=self.stage.stage_name,
            revision=self.stage.revision,
            schema_version=schema(self.stage.writes).version,
            fields=self.stage.identity(),
            inputs=(self.given.record,),
            models=models,
        )

    @property
    def name(self) -> str:
        """Name of its folder in the store."""
        return str(MadeName.made(self.stage.writes, self.identity.fingerprint))

    @property
    def origin(self) -> ModelRecord | None:
        """The model that the lineage began with."""
        return self.given.origin or (self.model.origin if self.model else None)

    def output(self, folder: Path) -> Given:
        """What it makes, as the input of the next job."""
        policy = self.model.record if self.model and self.stage.writes == "responses" else self.given.policy
        record = InputRecord(reference=str(folder), table=self.stage.writes, fingerprint=self.identity.fingerprint)
        return Given(record, folder, self.origin, policy)


def given_input(reference: str, root: Path, *, stream: bool = False) -> Given | None:
    """The dataset of this reference, None if there is none; one on the Hub is fetched or, with `stream`, read where it lies.

    Raises DatasetError if it was never finished, HubError if the Hub cannot be asked.
    """
    dataset = find_readable(reference, root, stream=stream)
    return None if dataset is None else input_of(dataset, reference)


def planned(stage: Stage, given: Given, *, model: Model | None, reward_model: Model | None = None) -> Job:
    """The stage over this input, every auto resolved.

    Without `model` the improver is the policy of the input, and the scorer the model that its lineage began with. `reward_model` is for a stage that scores.
    Raises SchemaError if the stage does not read the table, DatasetError if the input does not say which model, ModelError if that model has changed.
    """
    if given.record.table not in stage.reads:
        raise SchemaError(f"{given.record.reference}: holds {given.record.table}; {stage.stage_name} reads {' or '.join(stage.reads)}")
    if not isinstance(stage, RowStage):
        return Job(stage, given, None)
    found = model or _model_of(stage, given)
    loading = resolved(
        stage.engine, stage.dtype, stage.context_tokens, found.config, work=stage.work, quantization=stage.quantization, endpoint=found.endpoint, chat=stage
    )
    if found.adapter is not None and stage.work == "score" and loading.engine == "vllm":
        raise RecipeError(NO_ADAPTED_SCORER)
    frozen = stage.model_copy(update={"engine": loading.engine, "dtype": loading.dtype, "context_tokens": loading.context_tokens})
    return Job(frozen, given, found) if reward_model is None else _rewarding(Job(frozen, given, found), reward_model)


def _rewarding(job: Job, reward_model: Model) -> Job:
    assert isinstance(job.stage, ScoringStage)
    if reward_model.endpoint is not None or reward_model.adapter is not None:
        raise RecipeError(
            f"{job.stage.reward_role.name}: {reward_model.record.location} is no model folder; give a sequence classifier that save_pretrained wrote"
        )
    reward = job.stage.reward
    loading = resolved("transformers", reward.dtype, reward.context_tokens, reward_model.config, work="score")
    frozen = reward.model_copy(update={"dtype": loading.dtype, "context_tokens": loading.context_tokens})
    return replace(job, stage=job.stage.model_copy(update={"reward": frozen}), reward_model=reward_model)


def _model_of(stage: RowStage, given: Given) -> Model:
    role = stage.model_role
    record = given.origin if role.unnamed == "origin" else given.policy
    if record is None:
        raise DatasetError(f"{stage.stage_name}: no model is named, and its input does not say which to take; name one with {role.flag}")
    return recorded_model(record, flag=role.flag)
