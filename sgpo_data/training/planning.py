"""A training put together as a job, every default written out."""

from importlib.util import find_spec

from sgpo_data.errors import MissingExtraError, RecipeError, SchemaError
from sgpo_data.names import GIVEN, model_identity
from sgpo_data.references.model import Model, find_model, recorded_model
from sgpo_data.store.input import JobInput
from sgpo_data.training.checkpoint import checkpoint_dtype
from sgpo_data.training.job import TrainJob
from sgpo_data.training.options import OBJECTIVES, Train
from sgpo_data.training.settings import trl_faults

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")
"""What a training imports, at its first step."""


def planned_training(train: Train, inputs: tuple[JobInput, ...], start: Model, *, reference: Model | None = None) -> TrainJob:
    """The training of this start on these inputs, every default written out.

    Without `reference` it is the one the options name. Models in `allow_policies` become their identities.
    Raises MissingExtraError without the models extra, SchemaError if an input is of the wrong table, RecipeError if an option makes no sense,
    ModelError if a model is not there.
    """
    for package in (*PACKAGES, *(("liger_kernel",) if train.use_liger_kernel else ())):
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
    settled = {"learning_rate": rate, "allow_policies": allowed, "sft_weight": train.settled_sft_weight, "dtype": _dtype(train, start)}
    frozen = train.model_copy(update=settled)
    return TrainJob(frozen, inputs, start, (reference or _reference(train, start)) if train.needs.compares else None)


def _dtype(train: Train, start: Model) -> str:
    if train.dtype != "auto":
        return train.dtype
    # In float16 small gradients vanish.
    return "bfloat16" if checkpoint_dtype(start.config) == "bfloat16" else "float32"


def _identity(policy: str) -> str:
    return policy if policy == GIVEN or model_identity(policy) is not None else find_model(policy).record.identity


def _reference(train: Train, start: Model) -> Model:
    if train.reference == "start":
        return start
    if train.reference == "origin":
        return start if start.origin == start.record else recorded_model(start.origin, flag="--reference")
    return find_model(train.reference)
