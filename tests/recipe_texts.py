"""Recipes of tests, given as text: planned, run, and beside a model and a judge."""

import json
from pathlib import Path

from fake_model import FakeModel, model_folder, opens

from sgpo_data.execution import Execution
from sgpo_data.loop.loop import run_recipe
from sgpo_data.loop.plan import Step, plan_recipe
from sgpo_data.recipe.file import parsed


def model_and_judge(place: Path) -> None:
    """Folders `model` and `judge`, which are told apart by their content."""
    config = model_folder(place / "model") / "config.json"
    (model_folder(place / "judge") / "config.json").write_text(json.dumps({**json.loads(config.read_text()), "is_judge": True}))


def steps_of(text: str, place: Path, how: Execution) -> list[Step]:
    """The plan of this text, as a recipe in this folder."""
    return plan_recipe(parsed(text, place / "x.toml"), how)


def run(text: str, place: Path, how: Execution, model: FakeModel) -> list[bool]:
    """Runs the text as recipe x of this folder; tells of each step whether it was made now."""
    (place / "x.toml").write_text(text)
    return [each.made_now for each in run_recipe(place / "x.toml", how, open_model=opens(model))]
