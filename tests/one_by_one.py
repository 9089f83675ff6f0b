"""A recipe made one stage after the other, without the stream of two."""

from contextlib import closing
from pathlib import Path

from sgpo_data.execution import Execution
from sgpo_data.loop.folder import link
from sgpo_data.loop.plan import plan_recipe
from sgpo_data.recipe.file import read_recipe
from sgpo_data.running.engines import Engines, OpenModel, open_model
from sgpo_data.running.job import Job
from sgpo_data.running.runner import do
from sgpo_data.sources.prompts import PromptsJob, do_prompts


def one_after_the_other(recipe: Path, how: Execution, open_model: OpenModel = open_model) -> None:
    """Makes all datasets of the recipe, which trains nothing, where its run would."""
    with closing(Engines(how, open_model=open_model)) as engines:
        for step in plan_recipe(read_recipe(recipe), how):
            if isinstance(step.job, PromptsJob):
                do_prompts(step.job, step.folder)
            else:
                assert isinstance(step.job, Job)
                do(step.job, step.folder, how, engines=engines)
            link(step.link, step.folder)
