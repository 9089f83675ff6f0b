"""Claims about the one list of stages: whatever has a stage for each has those of the list."""

import pytest
from sgpo_data.cli.main import app
from typer.main import get_command

from sgpo_data.recipe.recipe import SEEDED, Phase
from sgpo_data.schema import tables
from sgpo_data.stages import Stage
from sgpo_data.stages.order import MAKERS, STAGES, model_roles
from sgpo_data.stages.pair.pair import Pair

ROLES = {"seed": ["policy"], "improve": ["improver"], "score-ppl": ["scorer", "reward_model"], "filter": [], "pair": []}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: str(stage.stage_name))
def test_a_stage_is_a_command_with_its_models_as_flags_and_a_table_of_a_phase(stage: type[Stage]) -> None:
    (command,) = [each for name, each in vars(get_command(app))["commands"].items() if name == stage.stage_name]
    flags = {flag for parameter in command.params for flag in parameter.opts}
    assert [role.name for role in model_roles(stage)] == ROLES[stage.stage_name]
    assert {role.flag for role in model_roles(stage)} <= flags
    assert stage.stage_name in {field.alias or name for name, field in Phase.model_fields.items()}


def test_each_stage_reads_what_one_before_it_writes() -> None:
    written = {"prompts"}
    for stage in STAGES:
        assert set(stage.reads) <= written
        assert stage().writes == stage.makes[0]
        written.update(stage.makes)


def test_no_table_is_made_by_two_stages() -> None:
    made = [table for stage in STAGES for table in stage.makes]
    assert list(MAKERS) == made
    assert set(made) <= set(tables()) - {"prompts"}


@pytest.mark.parametrize("kind", Pair.makes)
def test_pair_writes_the_table_it_is_told(kind: str) -> None:
    assert Pair.model_validate({"kind": kind}).writes == kind


def test_every_seed_of_a_recipe_is_filled_in() -> None:
    assert set(SEEDED) == {("source", "shuffle_seed"), ("seed", "sampling", "seed"), ("improve", "sampling", "seed"), ("pair", "seed"), ("train", "seed")}
