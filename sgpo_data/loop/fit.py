"""The models of a plan held against its steps before the first of them, so that what a step would refuse hours later is refused now."""

from collections.abc import Sequence

from sgpo_data.engines.loading import resolved
from sgpo_data.engines.opening import check_openable
from sgpo_data.errors import EngineError, ModelError, RecipeError
from sgpo_data.execution import Execution
from sgpo_data.loop.plan import Step
from sgpo_data.recipe.recipe import Recipe
from sgpo_data.running.job import Job
from sgpo_data.running.runner import loading_of
from sgpo_data.stages import RowStage, ScoringStage
from sgpo_data.store.dataset import open_dataset
from sgpo_data.store.state import state
from sgpo_data.training.job import TrainJob, refuse_other_authors, refuse_other_policies


def check_models(recipe: Recipe, steps: Sequence[Step], how: Execution) -> None:
    """Nothing if the models of the steps that are still to be made fit them, as far as it shows without loading a weight or asking a server.

    A model that the run trains has tokenizer, template and shapes of the one that it starts from.
    Raises what the step would raise, with its place in the recipe.
    """
    positions = {phase.name: position for position, phase in enumerate(recipe.phases, 1)}
    for step in steps:
        if state(step.folder) == "made":
            continue
        try:
            if isinstance(step.job, TrainJob):
                _check_training(step.job)
            elif isinstance(step.job, Job) and isinstance(step.job.stage, RowStage):
                _check_stage(step.job, step.job.stage, how)
        except (ModelError, RecipeError, EngineError) as error:
            raise type(error)(f"{recipe.path}: phases.{positions[step.phase]}.{step.stage}: {error}") from error


def _check_stage(job: Job, stage: RowStage, how: Execution) -> None:
    model = job.model
    assert model is not None
    check_openable(loading_of(stage, model), model.config, adapter=model.adapter, endpoint=model.endpoint, how=how)
    if isinstance(stage, ScoringStage) and job.reward_model is not None:
        from sgpo_data.engines.local.reward import ClassifierRewarder

        loading = resolved("transformers", stage.reward.dtype, stage.reward.context_tokens, job.reward_model.config, work="score")
        ClassifierRewarder.check(job.reward_model.config, dtype=loading.dtype)


def _check_training(job: TrainJob) -> None:
    from sgpo_data.engines.local.weights import load_weights
    from sgpo_data.training.start import checked_start

    checked_start(job.start.config, job.train)
    if job.reference is not None and job.reference.config != job.start.config:
        load_weights(job.reference.config, dtype="float32", device="meta")
    if job.train.needs.reads == "pairs":
        made = [given for given in job.inputs if state(given.folder) == "made"]
        refuse_other_policies(job, [open_dataset(given.folder) for given in made])
        refuse_other_authors(job, [given for given in job.inputs if given not in made])
