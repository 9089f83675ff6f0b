"""The stages there are, in their fixed order: commands, recipes and scripts have no other list."""

from sgpo_data.stages import ModelRole, RowStage, ScoringStage, Stage
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.improve.improve import Improve
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.stages.score_ppl import ScorePpl
from sgpo_data.stages.seed import Seed

STAGES: tuple[type[Stage], ...] = (Seed, Improve, ScorePpl, Filter, Pair)

MAKERS: dict[str, type[Stage]] = {table: stage for stage in STAGES for table in stage.makes}
"""The stage that each table is written by; prompts are read by none."""


def model_roles(stage: type[Stage]) -> tuple[ModelRole, ...]:
    """The models that a stage takes, the one that fills its rows first."""
    if not issubclass(stage, RowStage):
        return ()
    return (stage.model_role, stage.reward_role) if issubclass(stage, ScoringStage) else (stage.model_role,)
