"""The official files as their tools read them, and the official numbers by another way."""

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from made import made_dataset
from public_sets import ALPACA_EVAL, GEMINI, O3_MINI, public

from sgpo_data.evaluation.arena_hard import arena_hard
from sgpo_data.evaluation.comparisons import compared
from sgpo_data.evaluation.judge.stage import Comparison
from sgpo_data.evaluation.judge.verdict import SCORES, Verdict
from sgpo_data.evaluation.judgement_files import write_alpaca_eval, write_arena_hard
from sgpo_data.evaluation.judging import Judged
from sgpo_data.evaluation.recorded import recorded
from sgpo_data.evaluation.results import judged_pairs, results
from sgpo_data.execution import Execution
from sgpo_data.store.dataset import Dataset

VERDICTS: tuple[Verdict, ...] = ("first_much", "first", "tie", "second", "second_much")
ARROWS = {"first_much": "A>>B", "first": "A>B", "tie": "A=B", "second": "B>A", "second_much": "B>>A"}


def recorded_rows(pairs: int, seed: int = 3) -> list[Comparison]:
    """Verdicts of a noisy judge on answers of random lengths and styles."""
    dice = np.random.default_rng(seed)
    rows: list[Comparison] = []
    for number in range(pairs):
        answers = {
            name: " ".join(["word"] * int(dice.integers(1, 60))) + "\n# head" * int(dice.integers(0, 4)) + "\n- item" * int(dice.integers(0, 3))
            for name in "mb"
        }
        for order, (first, second) in enumerate((("m", "b"), ("b", "m"))):
            verdict = VERDICTS[int(dice.choice(5, p=[0.1, 0.35, 0.1, 0.35, 0.1]))]
            rows.append(
                Comparison(
                    prompt_id=f"{number:032x}",
                    sample=order,
                    messages=[{"role": "user", "content": f"q {number}"}],
                    question=f"uid{number}",
                    category="hard_prompt",
                    first=first,
                    second=second,
                    first_answer=answers[first],
                    second_answer=answers[second],
                    judge="endpoint:j",
                    judgement=f"[[{ARROWS[verdict]}]]",
                    judgement_finish="stop",
                    first_probability=None,
                    label_probability=None,
                    verdict=verdict,
                    first_score=SCORES[verdict],
                )
            )
    rows[7]["verdict"] = rows[7]["first_score"] = None
    return rows


def judged(folder: Path, rows: Sequence[Comparison]) -> Judged:
    dataset: Dataset = made_dataset(folder, "evaluations", [dict(row) for row in rows])
    return Judged(dataset, tuple(rows), results(rows, model="m"), arena_hard(rows, model="m"), {})


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_arena_hard_scores_equal_those_of_its_own_formula(tmp_path: Path) -> None:
    """The score map and the weights of lmarena/arena-hard-auto show_result.py, over the file that is written for it."""
    found = judged(tmp_path / "e", recorded_rows(200))
    path = write_arena_hard(found, tmp_path / "model_judgment")
    assert path == tmp_path / "model_judgment/j/m.jsonl"
    rows = read(path)
    assert list(rows[0]) == ["uid", "category", "judge", "model", "baseline", "games"]
    weights: dict[str, list[float]] = {"A>B": [1], "A>>B": [1] * 3, "A=B": [0.5], "B>A": [0], "B>>A": [0] * 3}
    whole = [row["games"] for row in rows if all(game["score"] for game in row["games"])]
    battles = [score for games in whole for score in (*weights[games[1]["score"]], *(1 - score for score in weights[games[0]["score"]]))]
    assert (len(rows), len(whole)) == (200, 199)
    assert found.arena_hard is not None
    assert found.arena_hard.score.value == pytest.approx(math.fsum(battles) / len(battles), abs=1e-12)
    dice = np.random.default_rng(1)
    draws = [dice.choice(battles, len(battles)).mean() for _ in range(400)]
    assert found.arena_hard.score.low == pytest.approx(np.quantile(draws, 0.05), abs=0.02)
    assert found.arena_hard.score.high == pytest.approx(np.quantile(draws, 0.95), abs=0.02)


def counts(text: str) -> list[int]:
    return [len(text.split()), text.count("# head"), text.count("- item")]


def test_style_control_equals_newton_on_the_same_battles() -> None:
    rows = recorded_rows(150)
    found = arena_hard(rows, model="m")
    assert found is not None
    features: list[list[float]] = []
    outcomes: list[float] = []
    for pair in judged_pairs(rows, model="m"):
        ours, theirs = counts(pair.answer), counts(pair.other)
        length, other = ours[0], theirs[0]
        dense = [(a / length - b / other) / (a / length + b / other + 1) for a, b in zip(ours[1:], theirs[1:], strict=True)]
        style = [(length - other) / (length + other), *dense]
        for place, verdict in enumerate(pair.verdicts):
            score = SCORES[verdict] if place == 0 else 1 - SCORES[verdict]
            times = 3 if verdict.endswith("much") else 1
            features += [style] * times
            outcomes += [score] * times
    design, wanted = np.array(features), np.array(outcomes)
    design = np.hstack([np.ones((len(design), 1)), design / design.std(axis=0)])
    weights = np.zeros(design.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-design @ weights))
        weights += np.linalg.solve(design.T @ (design * (chance * (1 - chance))[:, None]), design.T @ (wanted - chance))
    assert found.style_controlled.value == pytest.approx(1 / (1 + math.exp(-weights[0])), abs=1e-6)


def test_a_longer_answer_is_no_better_where_length_is_all_the_judge_sees() -> None:
    rows = recorded_rows(300)
    for row in rows:
        length = len(row["first_answer"]) - len(row["second_answer"]) - (60 if row["first"] == "b" else -60)
        row["verdict"] = "first" if length > 0 else "second"
        row["first_score"] = 1.0 if length > 0 else 0.0
        if row["first"] == "m":
            row["first_answer"] += "x" * 60
        else:
            row["second_answer"] += "x" * 60
    found = results(rows, model="m")
    assert found.win_rate is not None
    assert found.win_rate.value > 0.6
    assert found.length_adjusted_win_rate == pytest.approx(0.5, abs=0.08)


def test_alpaca_eval_reads_the_annotations_and_finds_the_same_win_rate(tmp_path: Path) -> None:
    metrics = pytest.importorskip("alpaca_eval.metrics", reason="alpaca-eval is an extra of its own, since it needs an old setuptools")
    found = judged(tmp_path / "e", recorded_rows(120))
    path = write_alpaca_eval(found, tmp_path / "annotations.json")
    rows = json.loads(path.read_text())
    assert list(rows[0]) == ["dataset", "instruction", "output_1", "generator_1", "output_2", "generator_2", "annotator", "preference", "raw_completion"]
    assert (rows[0]["generator_1"], rows[0]["generator_2"]) == ("b", "m")
    official = metrics.get_winrate(rows)
    ours = found.results.win_rate
    assert ours is not None
    assert official["win_rate"] == pytest.approx(100 * ours.value, abs=1e-9)
    assert (official["n_wins"], official["n_wins_base"], official["n_draws"]) == (found.results.wins, found.results.losses, found.results.ties)
    assert official["n_total"] == found.results.judged


def test_the_official_answer_files_of_arena_hard_are_read_as_they_are(tmp_path: Path) -> None:
    gemini, mini = recorded(str(public(GEMINI)), tmp_path), recorded(str(public(O3_MINI)), tmp_path)
    assert (gemini.name, mini.name) == ("gemini-2.0-flash-001", "o3-mini-2025-01-31")
    pair = compared(gemini, mini, Execution(root=tmp_path / "runs"))
    rows = [cast(Comparison, row) for row in pair.dataset.rows()]
    assert len(rows) == 748
    assert pair.unmatched == {"o3-mini-2025-01-31": 2}
    official = {row["uid"]: row for row in read(public(GEMINI))}
    side = "first" if rows[0]["first"] == "gemini-2.0-flash-001" else "second"
    texts = [row["first_answer"] if side == "first" else row["second_answer"] for row in rows]
    assert texts == [official[row["question"]]["messages"][1]["content"]["answer"] for row in rows]
    turned = compared(mini, gemini, Execution(root=tmp_path / "runs"))
    assert turned.dataset.folder == pair.dataset.folder


def test_the_baseline_of_alpaca_eval_is_read_as_it_is(tmp_path: Path) -> None:
    found = recorded(str(public(ALPACA_EVAL)), tmp_path)
    assert (found.name, len(found.answers), len({answer.key[0] for answer in found.answers})) == ("gpt4_1106_preview", 805, 805)
    assert all(one.number + 1 == other.number for one, other in pairwise(found.answers))
