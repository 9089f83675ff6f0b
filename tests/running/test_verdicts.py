"""Claims about verdicts as rewards: what a judge or people say of a rewrite is what filter's margin and rules read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from literal_rows import row
from made import made_dataset
from sgpo_data.cli.main import app
from typer.testing import CliRunner, Result

from sgpo_data.running.deciding import deciding
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.store.dataset import Dataset, open_dataset

GATES = ("--gates.min_edited_words", "0")
NONE = {"response_reward": None, "improved_reward": None, "reward_model": None}


def rewrites(folder: Path, count: int, *, part_rows: int = 2, change: Mapping[str, object] | None = None) -> Dataset:
    rows = [row(f"{at}", response=f"response {at}", improved=f"improved {at}", **{**NONE, **(change or {})}) for at in range(count)]
    return made_dataset(folder / "scored", "scored", rows, part_rows=part_rows)


def verdict(at: int, score: float | None, *, judge: str = "endpoint:j", turned: bool = False) -> Mapping[str, object]:
    """What the rewrite gets in one of the orders."""
    texts = (f"improved {at}", f"response {at}")
    first = score if score is None or not turned else 1 - score
    said = None if first is None else "first" if first > 0.5 else "second" if first < 0.5 else "tie"
    return {
        "prompt_id": row(f"{at}")["prompt_id"], "sample": int(turned), "messages": row(f"{at}")["messages"], "judge": judge, "verdict": said,
        "first_score": first, "first": "response" if turned else "improved", "second": "improved" if turned else "response",
        "first_answer": texts[turned], "second_answer": texts[not turned], "judgement": "x",
    }  # fmt: skip


def judged(folder: Path, verdicts: Sequence[Mapping[str, object]]) -> Dataset:
    return made_dataset(folder / "verdicts", "evaluations", verdicts, part_rows=10_000)


def both(at: int, first: float | None, second: float | None) -> list[Mapping[str, object]]:
    return [verdict(at, first), verdict(at, second, turned=True)]


def sgpo(folder: Path, *words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["filter", str(folder / "scored"), "--root", str(folder / "runs"), "--progress", "none", *words])
    assert result.exit_code == code, (result.stderr, result.exception)
    return result


def rewards(folder: Path) -> list[tuple[float | None, float | None, str | None]]:
    return open_dataset(folder / "out").scan().select("improved_reward", "response_reward", "reward_model").collect().rows()


def test_the_preference_of_a_judge_in_both_orders_is_the_reward_and_margin_keeps_by_it(tmp_path: Path) -> None:
    rewrites(tmp_path, 4)
    judged(tmp_path, [*both(0, 0.9, 0.7), *both(1, 0.2, 0.1), *both(2, 1.0, 0.0), *both(3, 0.9, None)])
    sgpo(tmp_path, *GATES, "--ppl.strategy", "margin", "--ppl.margin.low", "0.1", "--verdicts", str(tmp_path / "verdicts"), "-o", str(tmp_path / "out"))
    found = rewards(tmp_path)
    assert found[0][:2] == pytest.approx((0.8, 0.2))
    assert found[0][2] == "endpoint:j"
    assert found[1][0] == pytest.approx(0.15)
    # A judge that goes by the place prefers nobody, and one that gives one verdict of two has given none.
    assert found[2] == (0.5, 0.5, "endpoint:j")
    assert found[3] == (None, None, None)
    made = open_dataset(tmp_path / "out")
    assert made.scan().select("dropped_by").collect()["dropped_by"].to_list() == [None, "margin", "margin", None]
    assert [record.table for record in made.manifest.identity.inputs] == ["scored", "evaluations"]


def test_votes_of_people_are_a_rule_of_ones_own(tmp_path: Path) -> None:
    rewrites(tmp_path, 3)
    votes = [verdict(0, 1.0, judge="person:ann"), verdict(0, 0.5, judge="person:bob", turned=True), verdict(1, 0.0, judge="person:ann")]
    judged(tmp_path, votes)
    rule = "people=improved_reward > 0.5"
    sgpo(tmp_path, *GATES, "--ppl.strategy", "none", "--rule", rule, "--verdicts", str(tmp_path / "verdicts"), "-o", str(tmp_path / "out"))
    assert rewards(tmp_path)[:2] == [(0.75, 0.25, "person:ann+person:bob"), (0.0, 1.0, "person:ann+person:bob")]
    assert open_dataset(tmp_path / "out").manifest.outcomes == {"kept": 2, "people": 1}


def test_rewards_stand_at_their_rows_over_all_parts(tmp_path: Path) -> None:
    count = 2500
    source = rewrites(tmp_path, count, part_rows=700)
    score = {at: (at * 7919 % count) / count for at in range(0, count, 3)}
    verdicts = judged(tmp_path, [each for at, of in reversed(score.items()) for each in both(at, of, of)])
    with deciding(source, tmp_path, verdicts=verdicts) as con:
        decided = Filter.model_validate({"gates": {"min_edited_words": 0}, "ppl": {"strategy": "margin"}}).table(con, source.table)
        found = decided.rows.project("improved, improved_reward").fetchall()
    assert [improved for improved, _ in found] == [f"improved {at}" for at in range(count)]
    assert [reward for _, reward in found] == [pytest.approx(score[at]) if at in score else None for at in range(count)]


def test_what_if_reads_the_same_rewards(tmp_path: Path) -> None:
    rewrites(tmp_path, 2)
    judged(tmp_path, [*both(0, 0.9, 0.9), *both(1, 0.6, 0.6)])
    asked = ("--what-if", "ppl.margin.low=0,0.5", "--ppl.strategy", "margin", "--verdicts", str(tmp_path / "verdicts"))
    told = sgpo(tmp_path, *GATES, *asked).stdout.splitlines()
    assert [line.split()[-3] for line in told[1:]] == ["2", "1"]


FAULTS = [
    ({}, [*both(7, 0.9, 0.9)], "has no whole verdict on a rewrite of"),
    ({}, [*both(0, 0.9, None)], "has no whole verdict on a rewrite of"),
    ({"response_reward": 1.0, "improved_reward": 2.0, "reward_model": "folder:r"}, [*both(0, 0.9, 0.9)], "has rewards of folder:r already"),
]


@pytest.mark.parametrize(("change", "verdicts", "said"), FAULTS)
def test_verdicts_that_decide_nothing_are_refused_in_one_line(
    change: Mapping[str, object], verdicts: Sequence[Mapping[str, object]], said: str, tmp_path: Path
) -> None:
    rewrites(tmp_path, 2, change=change)
    judged(tmp_path, verdicts)
    assert said in sgpo(tmp_path, "--verdicts", str(tmp_path / "verdicts"), code=1).stderr


def test_what_holds_no_verdicts_is_refused(tmp_path: Path) -> None:
    rewrites(tmp_path, 2)
    assert "holds scored; give evaluations" in sgpo(tmp_path, "--verdicts", str(tmp_path / "scored"), code=1).stderr
