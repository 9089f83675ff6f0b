"""Tasks of lm-eval: a model of ours goes in, the harness's own numbers come out, and each question is a row."""

import json
import sys
from pathlib import Path

import pytest
from sgpo_data.cli.main import app
from tiny_model import write_model
from typer.testing import CliRunner, Result

from sgpo_data.store.dataset import open_dataset

TASK = """\
task: colours
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{label}}}}"
doc_to_choice: ["red", "blue", "green"]
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""
QUESTIONS = [{"question": f"the answer of the question {number} is", "label": number % 3} for number in range(6)]


def task_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "colours.jsonl").write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS))
    (folder / "colours.yaml").write_text(TASK.format(data=folder / "colours.jsonl"))
    return folder


def tasks(folder: Path, model: str | Path, names: str, *more: str) -> Result:
    command = ["evaluate", "tasks", str(model), "--tasks", names, "--root", str(folder / "runs"), "--device", "cpu", "--engine", "transformers"]
    return CliRunner().invoke(app, [*command, *more])


def test_a_task_of_ones_own_is_graded_question_by_question_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = pytest.importorskip("lm_eval.evaluator", reason="the extra tasks is not installed")
    model, include = write_model(tmp_path / "model"), task_folder(tmp_path / "own")
    result = tasks(tmp_path, model, "colours", "--include", str(include), "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    rows = open_dataset(Path(found["reference"])).scan().collect().sort("item").to_dicts()
    assert [row["question"] for row in rows] == [question["question"] for question in QUESTIONS]
    assert {row["metric"] for row in rows} == {"acc,none"}
    assert found["results"]["colours acc,none"] == pytest.approx(sum(row["value"] for row in rows) / 6)
    assert found["results"]["colours acc_stderr,none"] >= 0
    monkeypatch.setattr(evaluator, "simple_evaluate", lambda **_: pytest.fail("it was made before"))
    again = tasks(tmp_path, model, "colours", "--include", str(include))
    assert again.stdout.splitlines()[-1] == found["reference"]
    unknown = tasks(tmp_path, model, "colour", "--include", str(include))
    assert unknown.exit_code == 2
    assert "--tasks: lm-eval has no colour; did you mean colours?" in unknown.stderr


def test_a_model_at_a_server_is_refused(tmp_path: Path) -> None:
    assert "a server does not tell how likely a given text is" in tasks(tmp_path, "openai:x", "hellaswag").stderr


def test_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    result = tasks(tmp_path, write_model(tmp_path / "model"), "hellaswag")
    assert result.exit_code == 1
    assert result.stderr.strip() == "lm-eval is not installed; run: pip install 'sgpo-data[tasks]'"
