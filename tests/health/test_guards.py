"""A training that would harm is not begun, and a model that was harmed is not gone on with."""

import json
import random
from itertools import islice
from pathlib import Path

import pytest
from sgpo_data.cli.main import app
from typer.testing import CliRunner, Result

from sgpo_data.toy import corpus
from sgpo_data.toy.model import base_model

RECIPE = """
model = "model"
[[phases]]
name = "policy"
[phases.source]
path = "pairs.jsonl"
[phases.pair]
kind = "pairs"
[phases.train]
objective = "dpo"
allow_policies = ["given"]
batch_rows = 16
max_tokens = 512
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("toy") / "model")


@pytest.fixture
def place(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "model").symlink_to(model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_pairs(place: Path, *, spoilt: bool) -> None:
    """A reference against the same with another closing word; spoilt: the words of chosen in any order."""
    rng = random.Random(0)
    rows = []
    for prompt in islice(corpus.prompts("guards"), 64):
        words = prompt.reference.text.split()
        rejected = " ".join([*words[:-1], "indeed."])
        chosen = " ".join(rng.sample(words, len(words))) if spoilt else prompt.reference.text
        sides = {side: [{"role": "assistant", "content": text}] for side, text in (("chosen", chosen), ("rejected", rejected))}
        rows.append({"prompt": prompt.messages, **sides})
    (place / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(place: Path, train: str, *flags: str) -> Result:
    (place / "x.toml").write_text(RECIPE + train)
    return CliRunner().invoke(app, ["run", "x.toml", "--progress", "none", *flags])


def record(place: Path) -> dict[str, float | None]:
    found: dict[str, float | None] = json.loads((place / "runs/x/policy-1/guard.json").read_text())
    return found


def test_pairs_whose_chosen_the_policy_finds_far_less_likely_are_not_trained_on(place: Path) -> None:
    write_pairs(place, spoilt=True)
    result = run(place, "learning_rate = 1e-5\n")
    assert result.exit_code == 3
    assert "nats per differing word less likely than rejected (alarm above 0.4)" in result.stderr
    assert "nothing was trained" in result.stderr
    assert not list((place / "runs/store").glob("model@*"))
    gap = record(place)["pair_gap"]
    assert gap is not None
    assert gap > 0.4


def test_keep_going_trains_on_them_and_says_so(place: Path) -> None:
    write_pairs(place, spoilt=True)
    result = run(place, "learning_rate = 1e-6\n", "--keep-going")
    assert result.exit_code == 0
    assert "nothing was trained" in result.stderr


def test_a_training_that_makes_chosen_less_likely_stops_the_run_and_stops_it_again(place: Path) -> None:
    write_pairs(place, spoilt=False)
    train = "learning_rate = 2e-3\nepochs = 3\nsft_weight = 0\n"
    first = run(place, train)
    assert first.exit_code == 3, first.output
    assert "training made chosen" in first.stderr
    assert "start_from = 'recipe'" in first.stderr
    made = next((place / "runs/store").glob("model@*")).stat().st_mtime_ns
    again = run(place, train)
    assert again.exit_code == 3
    assert next((place / "runs/store").glob("model@*")).stat().st_mtime_ns == made
    change = record(place)["chosen_change"]
    assert change is not None
    assert change < -0.1


def test_the_same_pairs_with_an_sft_loss_beside_pass(place: Path) -> None:
    write_pairs(place, spoilt=False)
    result = run(place, "learning_rate = 2e-4\nsft_weight = 1\n")
    assert result.exit_code == 0, result.output
    found = record(place)
    assert found["chosen_change"] is not None
    assert found["chosen_change"] > 0
    assert found["reference_change"] is None
