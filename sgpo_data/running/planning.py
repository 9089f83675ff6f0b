"""A stage, its input and its models put together as a job, every default resolved."""

from collections.abc import Mapping
from dataclasses import replace

from sgpo_data.engines import ChatTemplate
from sgpo_data.engines.loading import NO_ADAPTED_SCORER, Loading, ServerLoading, WeightsLoading, server_loading, weights_loading
from sgpo_data.errors import DatasetError, RecipeError, SchemaError
from sgpo_data.references.model import Model, recorded_model
from sgpo_data.running.job import StageJob
from sgpo_data.running.rowwise import GeneratingJob, RewardingJob, ScoringJob
from sgpo_data.running.table import TableJob
from sgpo_data.stages import GeneratingStage, ModelRole, Reward, RowStage, ScoringStage, Stage, TableStage
from sgpo_data.store.input import JobInput


def planned(stage: Stage, given: JobInput, *, model: Model | None, reward_model: Model | None = None, verdicts: JobInput | None = None) -> StageJob:
    """The stage over this input, every auto resolved.

    Without `model` the improver is the policy of the input, and the scorer the model that its lineage began with. `reward_model` is for a stage that scores,
    `verdicts` for one that decides by them.
    Raises SchemaError if the stage does not read the table, DatasetError if the input does not say which model, ModelError if that model has changed,
    RecipeError if a model cannot do what is asked of it.
    """
    if given.record.table not in stage.reads:
        raise SchemaError(f"{given.record.reference}: holds {given.record.table}; {stage.stage_name} reads {' or '.join(stage.reads)}")
    if not isinstance(stage, RowStage):
        return settled_job(stage, given, {}, verdicts=None if verdicts is None else _taken(stage, verdicts))
    filling = model or _unnamed(stage.model_role, stage, given)
    whole = stage.model_copy(update=_resolved(stage, filling).keys)
    if reward_model is None:
        return settled_job(whole, given, {stage.model_role.name: filling})
    if not isinstance(stage, ScoringStage):
        raise RecipeError(f"{stage.stage_name}: takes no reward model, and {reward_model.record.location} is given; leave it out")
    rewarded = whole.model_copy(update={"reward": _resolved_reward(stage, reward_model)})
    return settled_job(rewarded, given, {stage.model_role.name: filling, stage.reward_role.name: reward_model})


def settled_job(stage: Stage, given: JobInput, models: Mapping[str, Model], *, verdicts: JobInput | None = None) -> StageJob:
    """The job of a stage whose defaults are all resolved; `models` are keyed by role.

    Raises DatasetError if a model or a context length is missing, as it may be in a manifest of another version.
    """
    match stage:
        case TableStage():
            return TableJob(stage, given, verdicts)
        case GeneratingStage():
            model = _of_role(stage.model_role, models)
            return GeneratingJob(stage, given, model, _loading(stage, model))
        case ScoringStage():
            model = _of_role(stage.model_role, models)
            loading = _loading(stage, model)
            if (rewarding := models.get(stage.reward_role.name)) is None:
                return ScoringJob(stage, given, model, loading)
            reward = WeightsLoading("transformers", stage.reward.dtype, _context(stage.reward.context_tokens, "reward.context_tokens"))
            return RewardingJob(stage, given, model, loading, rewarding, reward)
    raise AssertionError(stage)


def _taken(stage: Stage, verdicts: JobInput) -> JobInput:
    """The verdicts as an input of the stage, by their flag."""
    if not (isinstance(stage, TableStage) and stage.takes_verdicts):
        raise RecipeError(f"{stage.stage_name}: takes no verdicts, and {verdicts.record.reference} is given; leave it out")
    if verdicts.record.table != "evaluations":
        raise SchemaError(f"{verdicts.record.reference}: holds {verdicts.record.table}; give evaluations, as sgpo evaluate judge or people wrote them")
    return replace(verdicts, flag="--verdicts")


def _loading(stage: RowStage, model: Model) -> Loading:
    chat = ChatTemplate(template=stage.template, template_name=stage.template_name)
    if model.endpoint is not None:
        return ServerLoading(stage.engine, model.endpoint, chat=chat)
    return WeightsLoading(stage.engine, stage.dtype, _context(stage.context_tokens, "context_tokens"), stage.quantization, chat=chat)


def _context(tokens: int | None, key: str) -> int:
    if tokens is None:
        raise DatasetError(f"{key}: is not there, so nobody knows how long the context was")
    return tokens


def _of_role(role: ModelRole, models: Mapping[str, Model]) -> Model:
    if role.name not in models:
        raise DatasetError(f"models: there is no {role.name} (got {', '.join(models) or 'none'})")
    return models[role.name]


def _resolved(stage: RowStage, model: Model) -> Loading:
    if model.endpoint is not None:
        return server_loading(stage.engine, stage.dtype, stage.context_tokens, model.endpoint, work=stage.work, quantization=stage.quantization, chat=stage)
    loading = weights_loading(stage.engine, stage.dtype, stage.context_tokens, model.config, work=stage.work, quantization=stage.quantization, chat=stage)
    if model.adapter is not None and stage.work == "score" and loading.engine == "vllm":
        raise RecipeError(NO_ADAPTED_SCORER)
    return loading


def _resolved_reward(stage: ScoringStage, model: Model) -> Reward:
    if model.endpoint is not None or model.adapter is not None:
        raise RecipeError(f"{stage.reward_role.name}: {model.record.location} is no model folder; give a sequence classifier that save_pretrained wrote")
    loading = weights_loading("transformers", stage.reward.dtype, stage.reward.context_tokens, model.config, work="score")
    return stage.reward.model_copy(update={"dtype": loading.dtype, "context_tokens": loading.context_tokens})


def _unnamed(role: ModelRole, stage: RowStage, given: JobInput) -> Model:
    record = given.origin if role.unnamed == "origin" else given.policy
    if record is None:
        raise DatasetError(f"{stage.stage_name}: no model is named, and its input does not say which to take; name one with {role.flag}")
    return recorded_model(record, flag=role.flag)
