"""A training that would harm is not begun, and a model that was harmed is not gone on with."""

import json
import random
import re
from itertools import islice
from pathlib import Path

import pytest
from literal_rows import row
from made import made_dataset
from sgpo_data.cli.main import app
from tiny_model import write_classifier, write_model
from typer.testing import CliRunner, Result

from sgpo_data.errors import GateError
from sgpo_data.execution import Execution
from sgpo_data.health.guards import TrainingGuard
from sgpo_data.health.options import Guards
from sgpo_data.health.preference import AnsweredTwice, rewarded_wins
from sgpo_data.health.probe import HeldOutPrompt, ModelAnswer
from sgpo_data.loop.plan import plan_recipe
from sgpo_data.recipe.file import read_recipe
from sgpo_data.references.model import find_model
from sgpo_data.running.engines import Engines
from sgpo_data.store.dataset import open_dataset
from sgpo_data.store.guard import GuardRecord, Wins, guard_record, write_guard_record
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


def test_answers_to_held_out_prompts_are_measured_before_and_after_and_once(place: Path) -> None:
    write_pairs(place, spoilt=False)
    recipe = RECIPE.replace('path = "pairs.jsonl"', 'path = "pairs.jsonl"\nheld_out = 0.2')
    (place / "x.toml").write_text(recipe + "learning_rate = 1e-6\n")
    result = CliRunner().invoke(app, ["run", "x.toml", "--progress", "none"])
    assert result.exit_code == 0, result.output
    record = guard_record(place / "runs/x/policy-1")
    assert record is not None
    assert record.answers_before is not None
    assert record.answers_after is not None
    assert 0 < record.answers_before.answers < 64
    assert record.answers_before.answers == record.answers_after.answers
    assert record.answer_growth == pytest.approx(0, abs=0.25)
    assert record.reference_change == pytest.approx(0, abs=0.01)
    assert record.answer_wins is None
    written = (place / "runs/x/policy-1/guard.json").stat().st_mtime_ns
    assert CliRunner().invoke(app, ["run", "x.toml", "--progress", "none"]).exit_code == 0
    assert (place / "runs/x/policy-1/guard.json").stat().st_mtime_ns == written


REWARDED = """
model = "model"
[[phases]]
name = "a"
reward_model = "reward"
scorer = "recipe"
[phases.source]
path = "improved"
[phases.score-ppl]
[phases.filter]
gates.min_edited_words = 0
ppl.strategy = "none"
[phases.pair]
[phases.train]
objective = "dpo"
allow_policies = ["folder:abc"]
"""


def test_a_reward_model_tells_how_many_pairs_are_better_before_they_are_trained_on(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    write_classifier(tmp_path / "reward")
    words = [f"the answer of question {number} is in the {{}} of the user" for number in range(8)]
    rows = [row(text, response=text.format("system"), improved=text.format("list")) for text in words]
    made_dataset(tmp_path / "improved", "improved", rows)
    path = tmp_path / "r.toml"
    path.write_text(REWARDED)
    execution = Execution(root=tmp_path / "runs", progress="none")
    recipe, engines = read_recipe(path), Engines(execution)
    *stages, training = plan_recipe(recipe, execution)
    for step in stages:
        step.job.make(step.folder, execution, engines)
        step.link.parent.mkdir(parents=True, exist_ok=True)
        step.link.symlink_to(step.folder.resolve())
    guard = TrainingGuard(recipe, execution, Guards(max_pair_gap=1e9, min_pair_win_rate=1), keep_going=True)
    guard.before(training, engines)
    record = guard_record(training.link.parent)
    assert record is not None
    rewards = open_dataset(stages[-2].folder).scan().select("response_reward", "improved_reward").collect().rows()
    assert record.pair_wins == Wins(compared=8, won=sum(b > a for a, b in rewards), lost=sum(b < a for a, b in rewards))


def test_a_reward_model_compares_two_answers_to_each_prompt(tmp_path: Path) -> None:
    folder, engines = write_classifier(tmp_path / "reward"), Engines(Execution())
    prompts = [HeldOutPrompt(name, [{"role": "user", "content": name}], None) for name in ("a", "b", "c")]
    before, after = ({name: ModelAnswer(text, 1, cut=False) for name, text in answers.items()} for answers in ({"a": "x", "b": "x"}, {"a": "the", "b": "x"}))
    wins = rewarded_wins(find_model(str(folder)), AnsweredTwice(prompts, before, after), engines)
    assert wins is not None
    assert (wins.compared, wins.won + wins.lost) == (2, 1)
    back = rewarded_wins(find_model(str(folder)), AnsweredTwice(prompts, after, before), engines)
    assert back is not None
    assert (back.won, back.lost) == (wins.lost, wins.won)


TWO = """
model = "model"
[[phases]]
name = "a"
[phases.source]
path = "pairs.jsonl"
[phases.pair]
[phases.train]
objective = "dpo"
allow_policies = ["given"]
[[phases]]
name = "b"
rounds = 3
start_from = "{start}"
[phases.source]
path = "pairs.jsonl"
[phases.pair]
[phases.train]
objective = "dpo"
allow_policies = ["given"]
"""


@pytest.mark.parametrize(
    ("start", "position", "words"),
    [
        ("previous", 0, "start_from = 'recipe'"),
        ("previous", 1, "start_from = 'a'"),
        ("previous", 3, "b-2, with rounds = 2 in phase b"),
        ("first", 3, "start_from = 'a'"),
        ("recipe", 1, "start_from = 'recipe'"),
    ],
)
def test_an_alarm_names_the_model_that_the_training_started_from(place: Path, start: str, position: int, words: str) -> None:
    write_pairs(place, spoilt=False)
    path = place / "x.toml"
    path.write_text(TWO.format(start=start))
    execution = Execution(progress="none")
    recipe = read_recipe(path)
    step = [each for each in plan_recipe(recipe, execution) if each.stage == "train"][position]
    step.link.parent.mkdir(parents=True)
    write_guard_record(step.link.parent, GuardRecord(fingerprint=step.job.identity.fingerprint, chosen_change=-1.0))
    with pytest.raises(GateError, match=re.escape(words)):
        TrainingGuard(recipe, execution, Guards()).after(step, Engines(execution))


def test_the_same_pairs_with_an_sft_loss_beside_pass(place: Path) -> None:
    write_pairs(place, spoilt=False)
    result = run(place, "learning_rate = 2e-4\nsft_weight = 1\n")
    assert result.exit_code == 0, result.output
    found = record(place)
    assert found["chosen_change"] is not None
    assert found["chosen_change"] > 0
    assert found["reference_change"] is None
