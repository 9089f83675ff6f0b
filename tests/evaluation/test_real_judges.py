"""Real models as judges: one in this process, and the same at a real vLLM server, give the same verdicts."""

import json
import random
import signal
from pathlib import Path
from typing import Any, cast

import pytest
from killing import counted, ended, lines
from sgpo_data.cli.main import app
from typer.testing import CliRunner
from vllm_server import KEY

from sgpo_data.engines import ScoreRequest
from sgpo_data.evaluation.judge.stage import Comparison
from sgpo_data.rows import Message
from sgpo_data.store.dataset import faults, open_dataset

PROMPT = "{% for message in messages %}{{ message.content }}{% endfor %}: {{ first_answer }} or {{ second_answer }}"
ROWS = 8


@pytest.fixture(scope="module")
def model(served_model: Path) -> Path:
    return served_model


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers of two models, and a prompt that the toy model can make something of."""
    folder = tmp_path_factory.mktemp("answers")
    for name in ("a", "b"):
        rows = [{"instruction": f"sort the words {n}", "output": f"{name}{name} word {n}", "generator": name} for n in range(ROWS)]
        (folder / f"{name}.json").write_text(json.dumps(rows))
    (folder / "prompt.jinja").write_text(PROMPT)
    return folder


@pytest.fixture(scope="module")
def labels(model: Path) -> tuple[str, str]:
    """The two words, a token each, that the toy model begins an answer with most: a server tells of its likeliest tokens alone."""
    from sgpo_data.engines.local.transformers import TransformersEngine

    vocabulary = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    letters = tuple(sorted(token for token in vocabulary if token.isascii() and token.isalpha()))
    engine = TransformersEngine.load(model, dtype="float32", context_tokens=512, adapter=None, device="cpu", batch_tokens=4000, window=8)
    asked = ScoreRequest(("p", 0, "x"), [Message(role="user", content="sort the words 1: aa word 1 or bb word 1")], letters, cut=frozenset(range(len(letters))))
    (found,) = engine.score([asked])
    engine.close()
    nlls = {letter: each.nll for letter, each in zip(letters, found.likelihoods, strict=True) if each.nll is not None}
    first, second, *_ = sorted(nlls, key=nlls.__getitem__)
    return first, second


def judged(answers: Path, labels: tuple[str, str], root: Path, judge: str, *more: str) -> dict[str, Any]:
    words = [str(answers / "a.json"), str(answers / "b.json"), "--judge", judge, "--prompt", str(answers / "prompt.jinja"), "--reading", "label"]
    words += ["--labels", labels[0], "--labels", labels[1], "--least-probability", "0", "--root", str(root), "--progress", "none", "--json"]
    result = CliRunner().invoke(app, ["evaluate", "judge", *words, *more])
    assert result.exit_code in (0, 3), (result.stderr, result.exception)
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_a_local_model_judges_by_the_probabilities_of_the_labels(model: Path, answers: Path, labels: tuple[str, str], tmp_path: Path) -> None:
    found = judged(answers, labels, tmp_path, str(model))
    dataset = open_dataset(Path(found["reference"]))
    rows = cast(list[Comparison], list(dataset.rows()))
    assert (faults(dataset), len(rows), found["judged"]) == ([], 2 * ROWS, ROWS)
    assert all(row["judgement"] in labels and row["first_probability"] is not None for row in rows)
    assert all(0 < (row["label_probability"] or 0) <= 1 for row in rows)


def test_a_local_model_and_the_same_at_a_vllm_server_give_the_same_probabilities(
    vllm_server: str, model: Path, answers: Path, labels: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    here = judged(answers, labels, tmp_path / "here", str(model))
    there = judged(answers, labels, tmp_path / "there", "openai:toy", "--base-url", vllm_server)
    assert (here["comparisons"], here["judged"]) == (ROWS, ROWS)
    tables = [open_dataset(Path(found["reference"])) for found in (here, there)]
    assert [faults(each) for each in tables] == [[], []]
    ours, theirs = ({(row["first"], row["prompt_id"]): row for row in cast(list[Comparison], list(each.rows()))} for each in tables)
    assert ours.keys() == theirs.keys()
    compared = 0
    for key, row in theirs.items():
        # The server tells of its 20 likeliest tokens alone.
        share = row["first_probability"]
        if share is not None and 0 < share < 1:
            compared += 1
            assert share == pytest.approx(ours[key]["first_probability"], abs=1e-3)
            assert row["verdict"] == ours[key]["verdict"]
    assert compared > ROWS


def test_a_judge_at_a_vllm_server_is_asked_no_verdict_twice_beyond_those_in_flight(
    vllm_server: str, answers: Path, labels: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at random, twice, and resumed: each verdict stands once, and what was asked again was under way when it was killed."""
    rows, window, dice = 40, 4, random.Random()
    for name in ("a", "b"):
        asked = [{"instruction": f"sort the words {n}", "output": f"{name}{name} word {n}", "generator": name} for n in range(rows)]
        (tmp_path / f"{name}.json").write_text(json.dumps(asked))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    words = ["evaluate", "judge", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--judge", "openai:toy", "--base-url", vllm_server]
    words += ["--prompt", str(answers / "prompt.jinja"), "--reading", "label", "--labels", labels[0], "--labels", labels[1], "--least-probability", "0"]
    words += ["--root", str(tmp_path / "runs"), "--window", str(window), "-o", str(tmp_path / "judged"), "--progress", "none"]
    drawn = tmp_path / "drawn"
    kills = [dice.randint(1, rows), dice.randint(1, rows // 2)]
    for after in kills:
        status, said = ended(counted(drawn, *words), drawn, after=after)
        assert status == -signal.SIGKILL, said
    status, said = ended(counted(drawn, *words), drawn, after=None)
    assert status in (0, 3), said
    dataset = open_dataset(tmp_path / "judged")
    assert (faults(dataset), dataset.manifest.rows) == ([], 2 * rows)
    assert len(set(drawn.read_text().splitlines())) == 2 * rows
    assert lines(drawn) <= 2 * rows + len(kills) * window, kills
