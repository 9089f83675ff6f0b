"""Claims about the recipe for a small real model: in an empty folder, it plans an evaluation before and after, and tells what its model and data are."""

import json
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from hub_server import Hub
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.recipe.shipped import shipped_recipe
from sgpo_data.toy.model import base_model

pytest.importorskip("lm_eval", reason="the extra ifeval is not installed")

MODEL = "HuggingFaceTB/SmolLM2-360M-Instruct"
PROMPTS = 60
QUESTION = {"key": 7, "prompt": "Use no comma.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}


def no_robots() -> bytes:
    """Rows with the columns that the dataset has."""
    rows = []
    for number in range(PROMPTS):
        turns = [{"content": f"Name {number} rivers.", "role": "user"}, {"content": f"River {number}.", "role": "assistant"}]
        rows.append({"prompt": turns[0]["content"], "prompt_id": str(number), "messages": turns, "category": "Open QA"})
    content = BytesIO()
    pl.DataFrame(rows).write_parquet(content)
    return content.getvalue()


@pytest.fixture
def somewhere(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of somebody who can reach the model, the prompts and the questions."""
    weights = base_model(tmp_path / "weights")
    config = json.loads((weights / "config.json").read_text()) | {"max_position_embeddings": 8192}
    files = {path.name: path.read_bytes() for path in weights.iterdir()} | {"config.json": json.dumps(config).encode()}
    for name, kind, content in (
        (MODEL, "model", files),
        ("HuggingFaceH4/no_robots", "dataset", {"data/train-00000-of-00001.parquet": no_robots(), "data/test-00000-of-00001.parquet": no_robots()}),
        ("google/IFEval", "dataset", {"ifeval_input_data.jsonl": json.dumps(QUESTION).encode()}),
    ):
        hub.repositories.create(name, kind)
        hub.repositories.commit_files(name, content, kind=kind)
    place = tmp_path / "empty"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def sgpo(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.stdout, done.stderr


def test_in_an_empty_folder_it_plans_the_same_questions_before_and_after(somewhere: Path) -> None:
    assert sgpo("init", "real-small")[0] == 0
    status, told, errors = sgpo("run", "recipes/real-small.toml", "--dry-run", "--json")
    assert status == 0, errors
    steps = [(step["phase"], step["stage"]) for step in json.loads(told)]
    evaluated = [name for name, stage in steps if stage == "evaluate ifeval"]
    assert evaluated == ["before", "policy"]
    assert [stage for name, stage in steps if name == "before"] == ["evaluate questions", "evaluate answers", "evaluate ifeval"]


def test_it_says_what_to_type_before_it() -> None:
    assert shipped_recipe("real-small").preparation == ("pip install 'sgpo-data[models,ifeval]'", "python -m nltk.downloader punkt_tab")
