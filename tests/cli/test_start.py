"""Claims about the first commands that somebody types: in an empty folder, without a clone."""

import json
from pathlib import Path

import pytest
from sgpo_data.cli import demo as demo_command
from sgpo_data.cli.main import app
from typer.testing import CliRunner, Result

from sgpo_data.errors import MissingExtraError
from sgpo_data.recipe.shipped import shipped_recipes
from sgpo_data.toy import world

SMALL = """
model = "../runs/toy/model"

[[phases]]
name = "policy"
[phases.source]
path = "../runs/toy/prompts.jsonl"
held_out = 0.2
[phases.seed]
sampling.max_tokens = 32
[phases.pair]
"""


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sgpo(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def test_without_a_name_every_recipe_is_listed_with_its_clause() -> None:
    listed = sgpo("init")
    assert listed.exit_code == 0
    assert [line.split(maxsplit=1) for line in listed.stdout.splitlines()] == [[recipe.name, recipe.clause] for recipe in shipped_recipes().values()]


def test_a_recipe_is_written_and_what_to_type_next_is_said(empty_folder: Path) -> None:
    written = sgpo("init", "real")
    assert written.exit_code == 0
    assert written.stdout == "recipes/real.toml\n"
    assert {path.name for path in (empty_folder / "recipes").iterdir()} == {"real.toml", "real.jsonl"}
    assert written.stderr.splitlines() == [
        "next:",
        "  python -m sgpo_data.toy smollm2 runs/smollm2",
        "  sgpo run recipes/real.toml --dry-run   # the plan, or what the run would refuse",
        "  sgpo run recipes/real.toml",
    ]


def test_a_place_without_a_recipe_is_refused() -> None:
    refused = sgpo("init", "-o", "x.toml")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "no recipe is named" in refused.stderr


def test_the_demo_makes_its_world_runs_the_recipe_and_grades_what_came_out(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_command, "ROWS", 40)
    (empty_folder / "recipes").mkdir()
    (empty_folder / "recipes/quickstart.toml").write_text(SMALL)
    ran = sgpo("demo")
    assert ran.exit_code == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0] == "runs/quickstart/policy-1/pairs"
    assert any("start" in line and "±" in line for line in lines)
    assert "sgpo report quickstart -o report.html" in lines
    assert (empty_folder / "recipes/quickstart.toml").read_text() == SMALL


def test_the_world_of_the_demo_is_made_once(empty_folder: Path) -> None:
    assert world.write_world(empty_folder / "toy", rows=3) == [empty_folder / "toy/model", empty_folder / "toy/prompts.jsonl"]
    (empty_folder / "toy/prompts.jsonl").write_text("mine")
    assert world.write_world(empty_folder / "toy", rows=3) == []
    assert (empty_folder / "toy/prompts.jsonl").read_text() == "mine"


def test_the_demo_says_which_extra_to_install(monkeypatch: pytest.MonkeyPatch, empty_folder: Path) -> None:
    def missing(engine: str) -> None:
        raise MissingExtraError("models", "torch")

    monkeypatch.setattr(world, "check_installed", missing)
    refused = sgpo("demo")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "torch is not installed; run: pip install 'sgpo-data[models]'" in refused.stderr
    assert not (empty_folder / "runs").exists()


def test_the_prompts_of_the_world_are_rows_with_references() -> None:
    (row,) = map(json.loads, world.json_lines(world.prompt_rows(0, 1)).splitlines())
    assert set(row) == {"messages", "reference"}
