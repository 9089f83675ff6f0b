"""The queries that come along run on a made run, and answer what they say."""

from collections.abc import Iterator

import duckdb
import pytest
from literal_rows import Values, prompt_id, row
from made import made_dataset

from sgpo_data.errors import UsageError
from sgpo_data.query.catalog import catalog
from sgpo_data.query.examples import example, examples
from sgpo_data.query.sandbox import selected

PAIR = {"prompt": [{"role": "user", "content": "question"}], "chosen": [{"role": "assistant", "content": "good"}]}


def rows(policy: str) -> list[Values]:
    """Eight rows: four kept of 1 to 4 nats per token, one far beyond them, two that do not differ, one cut."""
    kept = [row(f"{policy}{nats}", improved_nll=100.0 * nats, policy=policy, improved_words=100 + nats) for nats in (1, 2, 3, 4)]
    far = row(f"{policy}far", improved_nll=2000.0, dropped_by="ppl", failed_rules=["ppl"], policy=policy, response="the same")
    same = [row(f"{policy}{name}", dropped_by="changed", failed_rules=["changed", "length"], edited_words=0, policy=policy) for name in "xy"]
    cut = row(f"{policy}cut", dropped_by="length", failed_rules=["length"], finish="length", source="other", policy=policy, response="the same")
    return [*kept, far, *same, cut]


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    root = tmp_path_factory.mktemp("root")
    for step in ("policy-1", "policy-2"):
        (root / "loop" / step).mkdir(parents=True)
        for table in ("prompts", "responses", "scored", "filtered", "pairs"):
            pairs = [{**each, **PAIR, "rejected": [{"role": "assistant", "content": each["response"]}]} for each in rows(step)]
            dataset = made_dataset(root / "store" / f"{table}@{step}", table, pairs if table == "pairs" else rows(step))
            (root / "loop" / step / table).symlink_to(dataset.folder)
    con = catalog([], runs=["loop"], root=root).connect()
    yield con
    con.close()


def answered(con: duckdb.DuckDBPyConnection, name: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = selected(con, example(name).query).to_arrow_table().to_pylist()
    return found


@pytest.mark.parametrize("name", examples())
def test_example_says_what_it_answers_and_has_an_answer(name: str, con: duckdb.DuckDBPyConnection) -> None:
    assert example(name).query.startswith(f"-- {example(name).about}.\n")
    assert answered(con, name)


def test_unknown_example_is_told_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"watterfall: no such example; there are .*waterfall"):
        example("watterfall")


def test_waterfall_counts_what_is_dropped_and_what_fails(con: duckdb.DuckDBPyConnection) -> None:
    found = [(each["rule"], each["dropped"], each["failed"], each["left"]) for each in answered(con, "waterfall")]
    assert found == [("changed", 4, 4, 12), ("length", 2, 6, 10), ("ppl", 2, 2, 8)]


def test_threshold_counts_what_other_fences_would_keep(con: duckdb.DuckDBPyConnection) -> None:
    found = {each["k"]: (each["keeps"], each["would_keep"], each["changed"]) for each in answered(con, "threshold") if each["policy"] == "policy-1"}
    # Nats 1, 2, 3, 4 and 20: the quartiles are 2 and 4, so k = 0.5 has its fences at 1 and 5.
    assert found[0.5] == (4, 4, 0)
    assert found[3.0] == (4, 4, 0)
    assert [each["upper"] for each in answered(con, "threshold")][:5] == [5.0, 6.0, 7.0, 8.0, 10.0]


def test_near_threshold_shows_both_sides_of_the_fence(con: duckdb.DuckDBPyConnection) -> None:
    found = [(each["outcome"], each["nats_per_token"]) for each in answered(con, "near_threshold") if each["policy"] == "policy-1"]
    assert found == [("kept", 1.0), ("kept", 2.0), ("kept", 3.0), ("kept", 4.0), ("ppl", 20.0)]


def test_length_drift_tells_rounds_apart(con: duckdb.DuckDBPyConnection) -> None:
    found = [(each["round"], each["rows"], each["longer"], each["cut"]) for each in answered(con, "length_drift")]
    assert found == [(1, 8, 0.5, 0.125), (2, 8, 0.5, 0.125)]


def test_by_source_gives_the_share_kept(con: duckdb.DuckDBPyConnection) -> None:
    assert [(each["source"], each["rows"], each["share"]) for each in answered(con, "by_source")] == [("train.jsonl", 14, 0.571), ("other", 2, 0.0)]


def test_repeated_answers_are_counted(con: duckdb.DuckDBPyConnection) -> None:
    assert answered(con, "repeated_answers") == [{"rows": 4, "prompts": 4, "response": "the same"}]


def test_why_dropped_can_be_asked_of_one_prompt(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("SET VARIABLE prompt_id = ?", [prompt_id("policy-1far")])
    assert [each["failed_rules"] for each in answered(con, "why_dropped")] == [["ppl"]]
    con.execute("RESET VARIABLE prompt_id")
    con.execute("SET VARIABLE rule = 'length'")
    assert len(answered(con, "why_dropped")) == 6
    con.execute("RESET VARIABLE rule")
