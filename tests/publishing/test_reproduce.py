"""A published version tells how it is made again, and what would be otherwise."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from fake_model import model_folder, opens
from hub_server import Hub
from sgpo_data.cli.main import app
from two_by_two import UNTRAINED, Plain
from typer.testing import CliRunner
from vote_files import vote_file, votes_for
from warm import warm_path

from sgpo_data.evaluation.answer_pairs import answer_pairs
from sgpo_data.evaluation.review import review
from sgpo_data.execution import Execution
from sgpo_data.loop.loop import run_recipe
from sgpo_data.toy.__main__ import prompts
from sgpo_data.toy.model import base_model


def sgpo(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    model_folder(tmp_path / "model")
    rows = [{"prompt": f"Say {i} and no more.", "answer": f"{i} is what I say, and no more than that is said here."} for i in range(30)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "x.toml").write_text(UNTRAINED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_recipe_of_a_run_comes_back_and_makes_the_same_fingerprints(hub: Hub, place: Path) -> None:
    ran = run_recipe(place / "x.toml", Execution(root=place / "runs", progress="none"), open_model=opens(Plain()))
    code, _, err = sgpo("publish", "--run", "x", "org/x", "--tag", "v1", "--root", str(place / "runs"))
    assert code == 0, err
    code, out, err = sgpo("reproduce", "hf://datasets/org/x@v1", "-o", str(place / "again"), "--root", str(place / "again"), "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["file"] == str(place / "again" / "recipe.toml")
    assert told["same"] == []
    assert "no such" in told["other"][0]
    assert any(each.startswith("model model: folder:") for each in told["needs"])
    # Where the model and the prompts are as the recipe names them, it makes the same.
    folder = place / "elsewhere" / "x"
    told = json.loads(sgpo("reproduce", "hf://datasets/org/x@v1", "-o", str(folder), "--root", str(place / "fresh"), "--json")[1])
    assert (told["other"], len(told["same"])) == ([], 2)
    again = run_recipe(folder / "recipe.toml", Execution(root=place / "fresh", progress="none"), open_model=opens(Plain()))
    assert [each.step.job.name for each in again] == [each.step.job.name for each in ran]


def test_single_stages_come_back_as_a_script_that_ends_with_the_same_fingerprints(hub: Hub, tmp_path: Path) -> None:
    base_model(tmp_path / "model")
    prompts(rows=30, output=tmp_path / "prompts.jsonl")
    environment = {**os.environ, "PATH": warm_path(tmp_path / "bin")}
    chain = """
        sgpo seed prompts.jsonl --model model --sampling.max_tokens 40 -o responses --progress none |
        sgpo improve - --sampling.max_tokens 40 -o improved --progress none |
        sgpo score-ppl - -o scored --progress none |
        sgpo filter - --gates.min_edited_words 1 --gates.min_edit 0 --ppl.k 2.5 -o filtered |
        sgpo pair - -o pairs
    """
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", chain], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    code, _, err = sgpo("publish", str(tmp_path / "pairs"), "org/x", "--tag", "v1", "--root", str(tmp_path / "runs"))
    assert code == 0, err
    code, out, err = sgpo("reproduce", "hf://datasets/org/x@v1", "-o", str(tmp_path / "again"), "--json")
    assert code == 0, err
    told = json.loads(out)
    (name,) = told["same"]
    assert told["may_differ"] == []
    assert told["command"] == f"sh {tmp_path / 'again' / 'reproduce.sh'}"
    done = subprocess.run(["sh", told["file"], "other"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "other" / "store" / name / "manifest.json").exists()
    parts = [(tmp_path / folder / "part-00000.parquet").read_bytes() for folder in ("pairs", f"other/store/{name}")]
    assert parts[0] == parts[1]


def voted(scored: str) -> None:
    """Votes of ann on the rewrites of a dataset, in the folder `votes`: every second one is better."""
    shown = review(answer_pairs((scored,), Path("runs")), items=100, seed=0)
    file = vote_file(Path("ann.json"), shown, "ann", votes_for(shown, "ab" * 50))
    code, _, err = sgpo("evaluate", "people", scored, "--votes", str(file), "-o", "votes")
    assert code == 0, err


def test_votes_that_decided_are_read_where_they_were_published_and_needed_where_they_were_not(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base_model(tmp_path / "model")
    prompts(rows=30, output=tmp_path / "prompts.jsonl")
    environment = {**os.environ, "PATH": warm_path(tmp_path / "bin")}
    tokens = ("--sampling.max_tokens", "40", "--progress", "none")
    for command in (("seed", "prompts.jsonl", "--model", "model", *tokens), ("improve", "seed", *tokens), ("score-ppl", "improve", "--progress", "none")):
        assert sgpo(*command, "-o", command[0])[0] == 0
    voted("score-ppl")
    decided = ("--ppl.strategy", "margin", "--gates.min_edit", "0", "--gates.min_edited_words", "1")
    assert sgpo("filter", "score-ppl", "--verdicts", "votes", *decided, "-o", "filtered")[0] == 0
    assert sgpo("pair", "filtered", "-o", "pairs")[0] == 0

    code, _, err = sgpo("publish", "pairs", "org/x", "--tag", "v1")
    assert code == 0
    assert "votes: votes of people, which nothing makes again; for a version that can be made again, publish them too: votes=votes" in err
    told = json.loads(sgpo("reproduce", "hf://datasets/org/x@v1", "-o", "v1", "--json")[1])
    (needed,) = [each for each in told["needs"] if each.startswith("votes")]
    assert "nothing makes again; put the dataset there" in needed
    assert not any("ann.json" in each for each in told["needs"])
    assert " --verdicts votes " in Path(told["file"]).read_text()

    code, _, err = sgpo("publish", "pairs", "votes=votes", "org/x", "--tag", "v2")
    assert (code, "nothing makes again" in err) == (0, False)
    told = json.loads(sgpo("reproduce", "hf://datasets/org/x@v2", "-o", "v2", "--json")[1])
    place = f"hf://datasets/org/x@{hub.repositories.find('org/x').tags['v2']}/votes"
    assert [each.endswith(f": {place}") for each in told["votes"]] == [True]
    assert (len(told["same"]), told["other"], [each for each in told["needs"] if "votes" in each]) == (1, [], [])
    (tmp_path / "votes").rename(tmp_path / "elsewhere")
    done = subprocess.run(["sh", told["file"], "other"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "other" / "store" / told["same"][0] / "manifest.json").exists()


def test_the_recipe_of_a_run_reads_published_votes_where_they_lie(hub: Hub, place: Path) -> None:
    how = Execution(root=place / "runs", progress="none")
    (place / "x.toml").write_text(UNTRAINED.replace("rounds = 2", "rounds = 1"))
    run_recipe(place / "x.toml", how, open_model=opens(Plain()))
    voted("runs/x/improver-1/improved")
    judged = UNTRAINED.replace("rounds = 2", 'rounds = 1\njudge = "./votes"').replace("[phases.filter]", '[phases.filter]\nppl.strategy = "margin"')
    (place / "x.toml").write_text(judged)
    ran = run_recipe(place / "x.toml", how, open_model=opens(Plain()))
    assert sgpo("publish", "--run", "x", "votes=votes", "org/x", "--tag", "v1")[0] == 0
    (place / "votes").rename(place / "elsewhere")
    folder = place / "again" / "x"
    told = json.loads(sgpo("reproduce", "hf://datasets/org/x@v1", "-o", str(folder), "--root", "fresh", "--json")[1])
    assert (told["other"], len(told["same"]), len(told["votes"])) == ([], 2, 1)
    again = run_recipe(folder / "recipe.toml", Execution(root=place / "fresh", progress="none"), open_model=opens(Plain()))
    assert [each.step.job.name for each in again] == [each.step.job.name for each in ran]


@pytest.mark.parametrize(
    ("reference", "code", "told"),
    [
        ("hf://datasets/org/x@v1/pairs", 2, "is no version"),
        ("runs/store/pairs@12345678", 2, "is no version"),
        ("hf://datasets/org/gone@v1", 1, "no such dataset on the Hub"),
    ],
)
def test_what_is_no_version_is_said(hub: Hub, reference: str, code: int, told: str) -> None:
    found = sgpo("reproduce", reference)
    assert found[0] == code
    assert told in found[2]
