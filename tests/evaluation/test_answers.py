"""Answers to public sets: every question word for word and in its order, in the official layout, made once."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from fake_model import FakeModel, model_folder, opens
from hub_server import Hub
from killing import counted, ended, lines
from public_sets import ALPACA_EVAL, ARENA_HARD, GEMINI, IFEVAL, public
from sgpo_data.cli.main import app
from typer.testing import CliRunner, Result

from sgpo_data.evaluation.answer_files import style
from sgpo_data.store.dataset import open_dataset
from sgpo_data.toy.model import base_model

ALPACA = [
    {"instruction": "Name a river.", "output": "Rhine", "generator": "x", "dataset": "koala"},
    {"instruction": "Zeichne\n  ein Haus 🏠", "output": "-", "generator": "x", "dataset": "oasst"},
    {"instruction": "Name a river.", "output": "Rhine", "generator": "x", "dataset": "koala"},
]
ARENA = [{"uid": "b1", "category": "hard_prompt", "cluster": "c", "prompt": "Sort a list."}, {"uid": "a2", "category": "x", "cluster": "c", "prompt": "Why?"}]
IFEVAL_ROWS = [{"key": 7, "prompt": "Use no comma.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}]
MT_BENCH = [{"question_id": 81, "category": "writing", "turns": ["Write.", "Now shorter."]}, {"question_id": 80, "category": "math", "turns": ["1+1?"]}]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.split("\n") if line]
    return found


def answers(folder: Path, questions: str | Path, out: str | Path, *more: str, model: FakeModel | None = None) -> Result:
    command = ["evaluate", "answers", str(model_folder(folder / "tiny")), "--set", str(questions), "-o", str(out), "--root", str(folder / "runs")]
    return CliRunner().invoke(app, [*command, "--progress", "none", *more], obj=opens(model or FakeModel()))


def test_an_alpaca_eval_file_has_each_instruction_verbatim_in_order_with_an_answer_of_its_own(tmp_path: Path) -> None:
    result = answers(tmp_path, written(tmp_path / "set.json", ALPACA), tmp_path / "out.json")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(tmp_path / "out.json")
    rows = read(tmp_path / "out.json")
    assert [list(row) for row in rows] == [["dataset", "instruction", "output", "generator"]] * 3
    assert [(row["dataset"], row["instruction"], row["generator"]) for row in rows] == [(row["dataset"], row["instruction"], "tiny") for row in ALPACA]
    assert all(row["output"].startswith(f"{row['instruction']} / ") for row in rows)
    assert len({row["output"] for row in rows}) == 3


def test_a_folder_to_write_in_is_one_that_is_there_or_ends_in_a_slash(tmp_path: Path) -> None:
    result = answers(tmp_path, written(tmp_path / "set.json", ALPACA), f"{tmp_path}/new/", "--name", "mine")
    assert result.exit_code == 0, result.stderr
    assert len(read(tmp_path / "new" / "mine.json")) == 3


def test_an_arena_hard_file_has_the_official_keys_and_counts(tmp_path: Path) -> None:
    result = answers(tmp_path, written(tmp_path / "question.jsonl", ARENA), tmp_path, "--name", "mine")
    assert result.exit_code == 0, result.stderr
    first, second = read(tmp_path / "mine.jsonl")
    assert list(first) == ["uid", "ans_id", "model", "messages", "tstamp", "metadata"]
    assert (first["uid"], second["uid"], first["model"]) == ("b1", "a2", "mine")
    assert [(each["role"], type(each["content"])) for each in first["messages"]] == [("user", str), ("assistant", dict)]
    assert first["messages"][1]["content"]["answer"].startswith("Sort a list. / ")
    assert first["metadata"]["token_len"] == len(first["messages"][1]["content"]["answer"])
    assert list(first["metadata"]) == ["token_len", "header_count", "list_count", "bold_count"]
    assert first["ans_id"] != second["ans_id"]


def test_ifeval_and_mt_bench_are_written_as_their_tools_read_them(tmp_path: Path) -> None:
    assert answers(tmp_path, written(tmp_path / "ifeval.jsonl", IFEVAL_ROWS), tmp_path / "a.jsonl").exit_code == 0
    (row,) = read(tmp_path / "a.jsonl")
    assert list(row) == ["prompt", "response"]
    assert row["response"].startswith("Use no comma. / ")
    assert answers(tmp_path, written(tmp_path / "mt.jsonl", MT_BENCH), tmp_path / "b.jsonl").exit_code == 0
    two, one = read(tmp_path / "b.jsonl")
    assert list(two) == ["question_id", "answer_id", "model_id", "choices", "tstamp"]
    assert [turn.partition(" / ")[0] for turn in two["choices"][0]["turns"]] == ["Write.", "Now shorter."]
    assert len(one["choices"][0]["turns"]) == 1


def test_a_second_turn_is_asked_after_the_answer_to_the_first(tmp_path: Path) -> None:
    assert answers(tmp_path, written(tmp_path / "mt.jsonl", MT_BENCH), tmp_path / "b.jsonl").exit_code == 0
    first = read(tmp_path / "b.jsonl")[0]["choices"][0]["turns"][0]
    made = [open_dataset(path) for path in (tmp_path / "runs/store").glob("responses@*")]
    rows = [row["messages"] for each in made for row in each.rows() if len(row["messages"]) == 3]
    assert [[turn["content"] for turn in row] for row in rows] == [["Write.", first, "Now shorter."]]


def test_the_same_command_again_asks_nothing_and_writes_the_same_bytes(tmp_path: Path) -> None:
    questions = written(tmp_path / "question.jsonl", ARENA)
    assert answers(tmp_path, questions, tmp_path / "out.jsonl").exit_code == 0
    before, again = (tmp_path / "out.jsonl").read_bytes(), FakeModel()
    (tmp_path / "out.jsonl").unlink()
    assert answers(tmp_path, questions, tmp_path / "out.jsonl", model=again).exit_code == 0
    assert ((tmp_path / "out.jsonl").read_bytes(), again.asked) == (before, [])
    other = answers(tmp_path, questions, tmp_path / "out.jsonl", "--name", "other")
    assert (other.exit_code, (tmp_path / "out.jsonl").read_bytes()) == (1, before)
    assert "other answers are there" in other.stderr


FAULTS = [
    ("x.json", [{"text": "a"}], "of no layout that is known (it has text)"),
    ("x.json", [{"instruction": "a"}, {"instruction": 3}], "row 2: instruction is not what a question of alpaca_eval has (got 3)"),
    ("x.jsonl", [{"uid": "a", "prompt": "p"}, {"uid": "a", "prompt": "q"}], "2 questions are called a"),
    ("x.jsonl", [{"question_id": 1, "turns": []}], "row 1: turns is not what"),
    ("x.json", [], "has no question"),
]


@pytest.mark.parametrize(("name", "rows", "words"), FAULTS)
def test_a_set_that_is_none_is_one_line(name: str, rows: list[dict[str, Any]], words: str, tmp_path: Path) -> None:
    result = answers(tmp_path, written(tmp_path / name, rows), tmp_path / "out")
    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_set_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    result = answers(tmp_path, "alpaca", tmp_path / "out")
    assert "the sets are alpaca_eval, arena_hard, ifeval, mt_bench" in result.stderr


def test_a_named_set_is_fetched_from_the_hub_at_its_commit(hub: Hub, tmp_path: Path) -> None:
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    api.create_repo("tatsu-lab/alpaca_eval", repo_type="dataset", exist_ok=True)
    content = json.dumps(ALPACA).encode()
    commit = api.create_commit("tatsu-lab/alpaca_eval", [CommitOperationAdd("alpaca_eval.json", content)], commit_message="set", repo_type="dataset")
    result = answers(tmp_path, "alpaca_eval", tmp_path / "out.json")
    assert result.exit_code == 0, result.stderr
    assert [row["instruction"] for row in read(tmp_path / "out.json")] == [row["instruction"] for row in ALPACA]
    asked = FakeModel()
    place = f"hf://datasets/tatsu-lab/alpaca_eval@{commit.oid}/alpaca_eval.json"
    assert answers(tmp_path, place, tmp_path / "out.json", model=asked).exit_code == 0
    assert asked.asked == []


@pytest.mark.parametrize(("name", "rows"), [(ALPACA_EVAL, 805), (ARENA_HARD, 750), (IFEVAL, 541)])
def test_the_real_sets_are_asked_verbatim_and_in_order(name: str, rows: int, tmp_path: Path) -> None:
    path = public(name)
    result = answers(tmp_path, path, tmp_path)
    assert result.exit_code == 0, result.stderr
    made = read(Path(result.stdout.splitlines()[-1]))
    asked = [row.get("instruction") or row.get("prompt") or row["messages"][0]["content"] for row in made]
    assert asked == [row.get("instruction") or row["prompt"] for row in read(path)]
    assert len(asked) == rows


def test_style_is_counted_as_in_the_official_answer_files() -> None:
    rows = read(public(GEMINI))
    wrong = [row["uid"] for row in rows if style(row["messages"][-1]["content"]["answer"]) != {k: v for k, v in row["metadata"].items() if k != "token_len"}]
    assert wrong == []
    assert len(rows) > 700


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    model = base_model(tmp_path / "model")
    questions = written(tmp_path / "set.json", [{"instruction": f"reverse the words: ab cd {number}"} for number in range(60)])
    how = ["--sampling.max_tokens", "24", "--window", "8", "--batch-tokens", "600", "--part-rows", "25", "--progress", "none"]
    counts = tmp_path / "drawn"
    words = ["evaluate", "answers", str(model), "--set", str(questions), "-o", str(tmp_path / "out.json"), "--root", str(tmp_path / "runs"), *how]
    status, _ = ended(counted(counts, *words), counts, after=30)
    assert status == -signal.SIGKILL
    status, said = ended(counted(counts, *words), counts, after=None)
    assert status == 0, said
    assert lines(counts) <= 60 + 8
    assert [row["instruction"] for row in read(tmp_path / "out.json")] == [row["instruction"] for row in read(questions)]
