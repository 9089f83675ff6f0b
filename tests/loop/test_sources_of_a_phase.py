"""Several sources of one phase of a recipe: planned, run, frozen, printed as a script and made again from what is recorded."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from fake_model import FakeModel, model_folder, opens
from warm import warm_path

from sgpo_data.errors import RecipeError
from sgpo_data.execution import Execution
from sgpo_data.loop.estimate import estimates
from sgpo_data.loop.loop import run_recipe
from sgpo_data.loop.plan import plan_recipe
from sgpo_data.loop.remade import remade
from sgpo_data.loop.script import script
from sgpo_data.recipe.file import parsed, read_recipe
from sgpo_data.store.dataset import open_dataset

SEVERAL = """
model = "model"
[[phases]]
name = "answers"
rounds = 2
prompts_per_round = 10
[[phases.source]]
path = "a.jsonl"
share = 0.7
held_out = 0.1
[[phases.source]]
path = "b c.csv"
share = 0.3
columns = ["prompt=text"]
[phases.seed]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    model_folder(tmp_path / "model")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"prompt": f"a{number}", "answer": "yes"}) + "\n" for number in range(40)))
    (tmp_path / "b c.csv").write_text("text,answer\n" + "".join(f"b{number},no\n" for number in range(40)))
    (tmp_path / "x.toml").write_text(SEVERAL)
    return tmp_path


@pytest.fixture
def how(tmp_path: Path) -> Execution:
    return Execution(root=tmp_path / "runs", progress="none")


def test_rounds_take_other_prompts_of_each_source_in_its_share(place: Path, how: Execution) -> None:
    ran = run_recipe(place / "x.toml", how, open_model=opens(FakeModel()))
    rounds = [open_dataset(how.root / f"x/answers-{number}/prompts").scan().collect() for number in (1, 2)]
    assert [table.group_by("source").len().sort("source").rows() for table in rounds] == [[("a.jsonl", 7), ("b c.csv", 3)]] * 2
    assert not set(rounds[0]["prompt_id"]) & set(rounds[1]["prompt_id"])
    again = plan_recipe(read_recipe(how.root / "x/recipe.toml"), how)
    assert [step.job.name for step in again] == [each.step.job.name for each in ran]
    manifests = [open_dataset(each.step.folder).manifest for each in ran if each.step.stage == "source"]
    assert [step.job.identity for step in remade(manifests, [], how)] == [manifest.identity for manifest in manifests]


def test_a_further_round_changes_none_before_it_and_rows_are_known_before_the_run(place: Path, how: Execution) -> None:
    two, three = (plan_recipe(parsed(text, place / "x.toml"), how) for text in (SEVERAL, SEVERAL.replace("rounds = 2", "rounds = 3")))
    assert [step.job.name for step in three[:4]] == [step.job.name for step in two]
    assert [each.rows for each in estimates(two, how.store)] == [10, 10, 10, 10]


def test_a_script_reads_every_source(place: Path, how: Execution) -> None:
    (place / "x.toml").write_text(SEVERAL.replace("[phases.seed]", '[phases.pair]\nkind = "examples"'))
    ran = run_recipe(place / "x.toml", how)
    text = script("x.toml", [each.step for each in ran], how)
    assert f"--source.more '{place}/b c.csv?columns=prompt=text&offset=0&limit=3'" in text
    environment = {**os.environ, "PATH": warm_path(place / "bin")}
    done = subprocess.run(["sh", "-s", str(place / "other")], input=text, text=True, capture_output=True, env=environment, cwd=place)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (place / "other/store").iterdir()) == sorted(path.name for path in how.store.iterdir())


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("share = 0.3", "share = 0.4", "phases.1.source: the shares of the sources add up to 1.1; make it 1"),
        ("share = 0.3\n", "", "phases.1.source: share stands in one source and not in another"),
        ("share = 0.3", "share = 0.3\nlimit = 2", "phases.1.source.2: limit and share both say how many"),
        ("share = 0.3", 'share = "0.3"', 'phases.1.source.2.share: Input should be a valid number (got "0.3")'),
        ("share = 0.3", "share = 3", "phases.1.source.2.share: Input should be less than 1 (got 3)"),
        ("share = 0.3", "shares = 0.3", "phases.1.source.2.shares: no such key; did you mean share? (got 0.3)"),
        ("share = 0.3", "held_out = 0.3", "phases.1.source.2.held_out: is of all sources of the phase (got 0.3); write it in the first one"),
        ('path = "b c.csv"\n', "", "phases.1.source.2.path: is missing"),
        ("prompts_per_round = 10", "prompts_per_round = 1", "phases.1.prompts_per_round: are too few for one prompt of each source in these shares (got 1)"),
        ("rounds = 2\nprompts_per_round = 10", "", None),
    ],
)
def test_a_fault_of_a_source_is_told_at_its_place(before: str, after: str, fault: str | None, place: Path) -> None:
    text = SEVERAL.replace(before, after)
    assert text != SEVERAL
    if fault is None:
        assert parsed(text, place / "x.toml").phases[0].source is not None
        return
    with pytest.raises(RecipeError) as caught:
        parsed(text, place / "x.toml")
    assert fault in "\n".join(map(str, caught.value.args))


def test_sources_without_shares_have_no_rounds_of_their_own(place: Path) -> None:
    text = SEVERAL.replace("share = 0.7\n", "limit = 5\n").replace("share = 0.3\n", "")
    with pytest.raises(RecipeError) as caught:
        parsed(text, place / "x.toml")
    assert "phases.1.prompts_per_round: of several sources each needs a share of them (got 10)" in "\n".join(map(str, caught.value.args))
