"""Claims about jobs: each holds its models and how they are loaded, with nothing left to be guessed."""

import json
from pathlib import Path

import pytest
from fake_model import model_folder
from literal_rows import row
from made import made_dataset

from sgpo_data.engines import ChatTemplate
from sgpo_data.engines.loading import ServerLoading, WeightsLoading
from sgpo_data.errors import DatasetError, RecipeError
from sgpo_data.references.model import Model, find_model
from sgpo_data.running.overlap import OverlappingJobs
from sgpo_data.running.planning import planned, settled_job
from sgpo_data.stages import Stage
from sgpo_data.stages.improve.improve import Improve
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.stages.score_ppl import ScorePpl
from sgpo_data.stages.seed import Seed
from sgpo_data.store.input import JobInput, input_of


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return find_model(str(model_folder(tmp_path / "model")))


@pytest.fixture
def reward_model(tmp_path: Path) -> Model:
    (tmp_path / "reward").mkdir()
    (tmp_path / "reward/config.json").write_text(json.dumps({"max_position_embeddings": 64, "dtype": "bfloat16"}))
    return find_model(str(tmp_path / "reward"))


def of(table: str, folder: Path) -> JobInput:
    return input_of(made_dataset(folder / table, table, [row()]), table)


def test_a_job_says_how_each_of_its_models_is_loaded(model: Model, reward_model: Model, tmp_path: Path) -> None:
    weights, reward = WeightsLoading("transformers", "float32", 512), WeightsLoading("transformers", "bfloat16", 64)
    server = find_model("openai:m")
    template = ChatTemplate(template={"enable_thinking": False})
    scored = ScorePpl(engine="transformers")
    assert planned(scored, of("improved", tmp_path), model=model).loadings == (weights,)
    assert planned(scored, of("improved", tmp_path / "b"), model=model, reward_model=reward_model).loadings == (weights, reward)
    assert planned(Seed(template=template.template), of("prompts", tmp_path), model=server).loadings == (ServerLoading("openai", "m", template),)
    assert planned(Pair(), of("filtered", tmp_path), model=None).loadings == ()


def test_a_second_job_starts_early_only_if_the_same_model_is_loaded_the_same_way(model: Model, tmp_path: Path) -> None:
    first = planned(Seed(engine="transformers"), of("prompts", tmp_path), model=model)
    made = first.output(tmp_path / "responses")
    improve = Improve(engine="transformers", role="improve")
    assert OverlappingJobs.of(first, planned(improve, made, model=model)) is not None
    for other in (improve.model_copy(update={"dtype": "bfloat16"}), improve.model_copy(update={"context_tokens": 256})):
        assert OverlappingJobs.of(first, planned(other, made, model=model)) is None
    assert OverlappingJobs.of(first, planned(improve, of("responses", tmp_path), model=model)) is None
    assert OverlappingJobs.of(first, planned(Pair(), made, model=None)) is None


@pytest.mark.parametrize("stage", [Seed(), Improve(role="improve")])
def test_only_a_stage_that_scores_takes_a_reward_model(stage: Stage, model: Model, reward_model: Model, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"takes no reward model, and .*reward is given; leave it out"):
        planned(stage, of(stage.reads[0], tmp_path), model=model, reward_model=reward_model)


def test_a_record_without_its_model_or_its_context_makes_no_job(model: Model, tmp_path: Path) -> None:
    settled = Seed(engine="transformers", dtype="float32", context_tokens=512)
    assert settled_job(settled, of("prompts", tmp_path), {"policy": model}).roles == ((Seed.model_role, model),)
    with pytest.raises(DatasetError, match=r"models: there is no policy \(got scorer\)"):
        settled_job(settled, of("prompts", tmp_path / "b"), {"scorer": model})
    with pytest.raises(DatasetError, match="context_tokens: is not there"):
        settled_job(settled.model_copy(update={"context_tokens": None}), of("prompts", tmp_path / "c"), {"policy": model})
