"""Claims about rewards: what a reward model is given, what comes back, and where it goes."""

from pathlib import Path
from typing import cast

import polars as pl
import pytest
import torch
from fake_model import FakeModel, model_folder, opens
from literal_rows import row
from made import made_dataset
from polars.testing import assert_frame_equal
from sgpo_data.cli.main import app
from tiny_model import BOS, CONTEXT, END, START, question, write_classifier, write_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from typer.testing import CliRunner

from sgpo_data.engines import RewardRequest
from sgpo_data.engines.local.reward import ClassifierRewarder
from sgpo_data.errors import ModelError, RecipeError
from sgpo_data.execution import Execution
from sgpo_data.loop.loop import run_recipe
from sgpo_data.loop.plan import plan_recipe
from sgpo_data.loop.script import script
from sgpo_data.recipe.file import parsed, read_recipe
from sgpo_data.running.runner import run
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.score_ppl import ScorePpl
from sgpo_data.store.dataset import Dataset, faults

TEXTS = ["the list of the answer", "b", "", "naïve 🙂 answer", "y" * 30, "the the the"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classifier(tmp_path_factory.mktemp("reward"))


def rewarder(folder: Path, *, batch_tokens: int = 2000) -> ClassifierRewarder:
    return ClassifierRewarder.load(folder, dtype="float32", context_tokens=CONTEXT, device="cpu", batch_tokens=batch_tokens)


def rewards(given: ClassifierRewarder, prompt: str, *answers: str) -> tuple[float | None, ...]:
    (found,) = given.reward([RewardRequest(("p", 0), question(prompt), answers)])
    return found.rewards


def plain(folder: Path, ids: list[int]) -> float:
    """One conversation alone, in float64."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float64)
    with torch.no_grad():
        return float(model(torch.tensor([ids])).logits[0, 0])


def test_reward_is_the_logit_of_the_whole_templated_conversation(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text, found in zip(TEXTS, rewards(rewarder(folder), "what is the list", *TEXTS), strict=True):
        turns = [{"role": "user", "content": "what is the list"}, {"role": "assistant", "content": text}]
        ids = tokenizer.apply_chat_template(turns)["input_ids"]  # type: ignore[call-overload, index]
        assert found == pytest.approx(plain(folder, cast(list[int], ids)), rel=1e-4)


def test_what_an_answer_gets_does_not_depend_on_those_beside_it(folder: Path) -> None:
    alone = [rewards(rewarder(folder, batch_tokens=1), "a", text)[0] for text in TEXTS]
    assert len({round(float(value or 0), 3) for value in alone}) == len(TEXTS)
    requests = [RewardRequest((f"p{at}", 0), question("a"), (text, "b")) for at, text in enumerate(TEXTS * 12)]
    together = {found.key: found.rewards[0] for found in rewarder(folder).reward(requests)}
    assert [together[f"p{at}", 0] for at in range(len(requests))] == pytest.approx(alone * 12, rel=1e-4)


def test_a_model_without_a_padding_token_is_asked_one_by_one(tmp_path: Path, folder: Path) -> None:
    assert rewards(rewarder(write_classifier(tmp_path / "m", padding=None)), "a", *TEXTS) == pytest.approx(rewards(rewarder(folder), "a", *TEXTS), rel=1e-4)


def test_a_special_token_in_an_answer_is_text(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def split(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    head = [BOS, START, *split("user\n"), *split("a"), END, *split("\n"), START, *split("assistant\n")]
    (found,) = rewards(rewarder(folder), "a", "b <|im_end|>")
    assert found == pytest.approx(plain(folder, [*head, *split("b <|im_end|>"), END, *split("\n")]), rel=1e-4)


def test_what_does_not_fit_or_is_refused_has_no_reward(folder: Path) -> None:
    assert rewards(rewarder(folder), "a", "y" * 400, "b")[0] is None
    (found,) = rewarder(folder).reward([RewardRequest(("p", 0), [{"role": "refused", "content": "a"}], ("b", "c"))])
    assert found.rewards == (None, None)


def test_what_is_no_reward_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no score\.weight, so this is no reward model; give a sequence classifier"):
        rewarder(write_model(tmp_path / "causal"))
    with pytest.raises(ModelError, match="has 3 labels, and a reward model has one"):
        rewarder(write_classifier(tmp_path / "three", labels=3))
    with pytest.raises(ModelError, match="the reward model cannot be read"):
        rewarder(model_folder(tmp_path / "nothing"))


@pytest.fixture
def improved(tmp_path: Path) -> Dataset:
    rows = [row(f"p{at}", response=f"r {at}", improved=f"the list {at}") for at in range(20)]
    absent = row("none", response=None, finish="too_long", improved=None, improved_finish="no_response", improver_prompt=None)
    return made_dataset(tmp_path / "improved", "improved", [*rows, absent, row("long", improved="y" * 400)])


@pytest.fixture
def how(tmp_path: Path) -> Execution:
    return Execution(root=tmp_path / "runs", part_rows=7, progress="none", device="cpu")


def test_score_ppl_fills_in_the_rewards(improved: Dataset, folder: Path, how: Execution, tmp_path: Path) -> None:
    fake = FakeModel()
    scorer = str(model_folder(tmp_path / "m"))
    made = run(ScorePpl(), str(improved.folder), model=scorer, reward_model=str(folder), execution=how, open_model=opens(fake))
    assert faults(made) == []
    found = {str(each["prompt_id"]): each for each in made.scan().collect().to_dicts()}
    expected = dict(zip(("response", "improved"), rewards(rewarder(folder), "question p3", "r 3", "the list 3"), strict=True))
    third = next(each for each in found.values() if each["response"] == "r 3")
    assert {name: third[f"{name}_reward"] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert third["reward_model"] == made.manifest.identity.models["reward_model"].identity
    absent = next(each for each in found.values() if each["response"] is None)
    assert (absent["response_reward"], absent["improved_reward"], absent["reward_model"]) == (None, None, None)
    assert sum(each["improved_reward"] is None for each in found.values()) == 2
    without = run(ScorePpl(), str(improved.folder), model=scorer, execution=how, open_model=opens(fake))
    assert without.manifest.fingerprint != made.manifest.fingerprint
    assert without.scan().select(pl.col("reward_model", "response_reward").is_null().all()).collect().row(0) == (True, True)
    margin = run(Filter.model_validate({"ppl": {"strategy": "margin"}}), str(made.folder), execution=how)
    assert margin.manifest.facts["ppl.margin.rows"] + margin.manifest.facts["ppl.margin.undefined"] > 0


def test_a_stopped_run_rewards_only_what_is_missing(improved: Dataset, folder: Path, how: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = str(model_folder(tmp_path / "m"))
    fake = FakeModel()
    whole = run(ScorePpl(), str(improved.folder), model=scorer, reward_model=str(folder), out=tmp_path / "whole", execution=how, open_model=opens(fake))
    fake = FakeModel()
    calls = []

    def failing(self: ClassifierRewarder, batch: list[list[int]]) -> list[float]:
        calls.append(len(batch))
        if len(calls) == 3:
            raise ConnectionAbortedError("the model is gone")
        return computed(self, batch)

    computed = ClassifierRewarder._rewards
    monkeypatch.setattr("sgpo_data.engines.local.reward.WINDOW", 5)
    monkeypatch.setattr(ClassifierRewarder, "_rewards", failing)
    with pytest.raises(ConnectionAbortedError):
        run(ScorePpl(), str(improved.folder), model=scorer, reward_model=str(folder), out=tmp_path / "out", execution=how, open_model=opens(fake))
    monkeypatch.setattr(ClassifierRewarder, "_rewards", computed)
    rest = FakeModel()
    resumed = run(ScorePpl(), str(improved.folder), model=scorer, reward_model=str(folder), out=tmp_path / "out", execution=how, open_model=opens(rest))
    assert len(set(rest.asked)) == 21 - 10
    assert_frame_equal(resumed.scan(), whole.scan(), rel_tol=1e-4)


RECIPE = """
model = "m"
[[phases]]
reward_model = "reward"
scorer = "recipe"
[phases.source]
path = "improved"
[phases.score-ppl]
[phases.filter]
ppl.strategy = "tukey+margin"
ppl.margin.low = -100
[phases.filter.rules]
short = "improved_words < 400 -- a comment, 'quoted'"
"""


def test_a_recipe_names_a_reward_model(improved: Dataset, tmp_path: Path, how: Execution) -> None:
    model_folder(tmp_path / "m")
    write_classifier(tmp_path / "reward")
    path = tmp_path / "r.toml"
    path.write_text(RECIPE)
    fake = FakeModel()
    ran = run_recipe(path, how, open_model=opens(fake))
    recipe = read_recipe(path)
    text = script(str(recipe.path), plan_recipe(recipe, how), how)
    assert "--reward-model" in text
    assert "--rule" in text
    assert [each.step.stage for each in ran] == ["score-ppl", "filter"]
    assert all(each.made_now for each in ran)
    assert not any(each.made_now for each in run_recipe(path, how, open_model=opens(fake)))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('reward_model = "reward"\n', "", r"phases\.1\.filter\.ppl\.strategy: margin reads rewards .*; name a reward_model or judge in phase phase1"),
        ('reward_model = "reward"', 'reward_model = "nowhere"', r"phases\.1\.reward_model: is no folder beside the recipe"),
        ("[phases.score-ppl]", "", r"phases\.1\.reward_model: there is no score-ppl to use it"),
    ],
)
def test_a_reward_model_that_can_not_be_used_is_a_fault(before: str, after: str, message: str, tmp_path: Path) -> None:
    write_classifier(tmp_path / "reward")
    with pytest.raises(RecipeError, match=message):
        parsed(RECIPE.replace(before, after), tmp_path / "r.toml")


def test_a_server_is_no_reward_model(improved: Dataset, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["score-ppl", str(improved.folder), "--scorer", str(model_folder(tmp_path / "m")), "--reward-model", "openai:x"])
    assert shown.exit_code == 1
    assert "reward_model: openai:x is no model folder" in shown.stderr
