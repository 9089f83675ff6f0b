"""The models of a plan held against its steps before the first of them, so that what a step would refuse hours later is refused now."""

from collections.abc import Sequence

from sgpo_data.errors import EngineError, ModelError, RecipeError
from sgpo_data.execution import Execution
from sgpo_data.loop.plan import Step
from sgpo_data.recipe.recipe import Recipe
from sgpo_data.store.state import state


def check_models(recipe: Recipe, steps: Sequence[Step], how: Execution) -> None:
    """Nothing if the models of the steps that are still to be made fit them.

    Raises what the step would raise, with its place in the recipe.
    """
    positions = {phase.name: position for position, phase in enumerate(recipe.phases, 1)}
    for step in steps:
        if state(step.folder) == "made":
            continue
        try:
            step.job.check(how)
        except (ModelError, RecipeError, EngineError) as error:
            raise type(error)(f"{recipe.path}: phases.{positions[step.phase]}.{step.key}: {error}") from error
