"""A recipe made one stage after the other, without the stream of two."""

from contextlib import closing
from pathlib import Path

from sgpo_data.execution import Execution
from sgpo_data.loop.folder import link
from sgpo_data.loop.plan import plan_recipe
from sgpo_data.recipe.file import read_recipe
from sgpo_data.running.engines import Engines, OpenModel, open_model


def one_after_the_other(recipe: Path, how: Execution, open_model: OpenModel = open_model) -> None:
    """Makes all datasets of the recipe, which trains nothing, where its run would."""
    with closing(Engines(how, open_model=open_model)) as engines:
        for step in plan_recipe(read_recipe(recipe), how):
            step.job.make(step.folder, how, engines)
            link(step.link, step.folder)
