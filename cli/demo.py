"""sgpo demo: the whole loop on a toy model, from nothing."""

import sys
from pathlib import Path

import typer

from sgpo_data.execution import Execution
from sgpo_data.health.options import Guards

from .opener import opener
from .run import run_loop

RECIPE = "quickstart"
ROWS = 5000
"""Prompts of the toy world: a hundred with references to learn from, two thousand for preferences, and those that are held out."""


def demo(context: typer.Context) -> None:
    """Run the whole loop here on a toy model that computes on a CPU: some minutes, and no network.

    It makes the model and its prompts in runs/toy and the recipe recipes/quickstart.toml, as far as they are not there, runs the recipe, grades every
    model on prompts that were held out, and says what to look at next. The same command goes on where it was stopped.
    """
    from sgpo_data.recipe.shipped import shipped_recipe, write_recipe
    from sgpo_data.toy.outcome import show
    from sgpo_data.toy.world import write_world

    execution = Execution()
    write_world(execution.root / "toy", rows=ROWS)
    recipe = Path("recipes") / f"{RECIPE}.toml"
    if not recipe.exists():
        print(f"{write_recipe(shipped_recipe(RECIPE), recipe)[0]}: what is run here, with its comments", file=sys.stderr)
    run_loop(recipe, execution, open_model=opener(context), yes=False, as_json=False, guards=Guards(), keep_going=False)
    show(execution.root, RECIPE, recipe)
