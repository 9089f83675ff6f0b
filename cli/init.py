"""sgpo init: a recipe that comes along, written to be changed and run."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sgpo_data.errors import UsageError

if TYPE_CHECKING:
    from sgpo_data.recipe.shipped import ShippedRecipe

FOLDER = Path("recipes")


def init(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which recipe; all are listed if none is named.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; recipes/NAME.toml if not given. Its name is that of the run.")] = None,
) -> None:
    """Write a recipe that comes along, and say what to type next; list them if none is named."""
    from sgpo_data.recipe.shipped import shipped_recipe, shipped_recipes, write_recipe

    if name is None:
        if out is not None:
            raise UsageError(f"--out {out}: no recipe is named to be written there; sgpo init lists them")
        recipes = shipped_recipes()
        width = max(map(len, recipes))
        for each in recipes.values():
            print(f"{each.name:{width}}  {each.clause}")
        print("sgpo init NAME writes one of them", file=sys.stderr)
        return
    recipe = shipped_recipe(name)
    written = write_recipe(recipe, out or FOLDER / f"{recipe.name}.toml")
    print(_next_lines(recipe, written[0]), file=sys.stderr)
    print(written[0])


def _next_lines(recipe: "ShippedRecipe", path: Path) -> str:
    """What to type next, a command a line."""
    run = f"sgpo run {path} {recipe.flags}".rstrip()
    commands = [*recipe.preparation, f"{run} --dry-run   # the plan, or what the run would refuse", run]
    if find_spec("torch") is None:
        commands.insert(0, "pip install 'sgpo-data[models]'")
    return "\n".join(("next:", *(f"  {command}" for command in commands)))
