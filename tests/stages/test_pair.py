import hashlib
import random
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from literal_rows import Values, checked, connect, key, prompt_id, row
from pydantic import ValidationError

from sgpo_data.errors import RecipeError, SchemaError
from sgpo_data.schema import schema
from sgpo_data.stages import Decision
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.pair.pair import Pair


def decide(stage: Pair, source: str, rows: list[Values]) -> list[Values]:
    decided = stage.table(connect(source, rows), source)
    return checked(decided, stage.writes)


def keys(rows: list[Values]) -> list[tuple[str, int]]:
    return [key(each) for each in rows]


def assistant(content: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": content}]


DROPPED = Values(dropped_by="changed", failed_rules=["changed"])


def test_kept_row_is_improved_over_response() -> None:
    pairs = decide(Pair(), "filtered", [row("a"), row("b", **DROPPED)])
    assert pairs == [
        {
            "prompt": [{"role": "user", "content": "question a"}],
            "chosen": assistant("improved a 0"),
            "rejected": assistant("response a"),
            "prompt_id": prompt_id("a"),
            "sample": 0,
            "chosen_nll": 100.0,
            "chosen_tokens": 100,
            "rejected_nll": 120.0,
            "rejected_tokens": 100,
            "edited_words": 30,
            "source": "train.jsonl",
            "policy": "model-p",
            "improver": "model-i",
            "scorer": "model-s",
        }
    ]


def test_whole_response_is_beaten_by_its_reference() -> None:
    rows = [
        row("a"),
        row("b", reference=None),
        row("c", reference=" \n"),
        row("d", finish="length"),
        row("e", finish="too_long", response=None),
        row("f", response="reference f"),
    ]
    (pair,) = decide(Pair(), "responses", rows)
    assert (pair["chosen"], pair["rejected"], pair["policy"], pair["improver"], pair["scorer"]) == (
        assistant("reference a"),
        assistant("response a"),
        "model-p",
        None,
        None,
    )
    assert pair["chosen_nll"] is pair["rejected_nll"] is pair["edited_words"] is None


def test_given_preferences_are_taken_as_they_are() -> None:
    rows = [row("a", rejected="worse"), row("b"), row("c", rejected="worse", reference=None), row("d", rejected="reference d")]
    (pair,) = decide(Pair(), "prompts", rows)
    assert (pair["prompt_id"], pair["sample"], pair["chosen"], pair["rejected"]) == (prompt_id("a"), 0, assistant("reference a"), assistant("worse"))
    assert pair["policy"] is pair["improver"] is pair["scorer"] is None


def test_chosen_never_equals_rejected() -> None:
    same = "the same"
    assert decide(Pair(), "filtered", [row(improved=same, response=same)]) == []
    assert decide(Pair(), "responses", [row(reference=same, response=same)]) == []
    assert decide(Pair(), "prompts", [row(reference=same, rejected=same)]) == []


def test_row_that_misses_an_answer_is_no_pair_even_if_it_is_marked_kept() -> None:
    assert decide(Pair(), "filtered", [row("a", improved=None, improved_finish="refused"), row("b", response=None, finish="refused")]) == []
    assert decide(Pair(kind="examples", replay=0), "filtered", [row("a", improved=None, improved_finish="refused")]) == []


def test_example_of_a_kept_row_is_its_rewrite_under_the_improve_prompt() -> None:
    assert decide(Pair(kind="examples"), "filtered", [row("a", sample=2), row("b", **DROPPED)]) == [
        {
            "prompt": [{"role": "user", "content": "improve a"}],
            "completion": assistant("improved a 2"),
            "prompt_id": prompt_id("a"),
            "sample": 2,
            "kind": "improve",
            "source": "train.jsonl",
            "policy": "model-i",
        }
    ]


@pytest.mark.parametrize(("replay", "replayed"), [(0.0, 0), (0.2, 2), (0.25, 3), (0.04, 0), (0.05, 1), (1.0, 10), (9.0, 20)])
def test_replay_is_a_share_of_the_rewrites_rounded_half_up_to_as_many_as_there_are(replay: float, replayed: int) -> None:
    rows = [row(f"{at}") for at in range(10)] + [row(f"{at}", **DROPPED) for at in range(10, 20)] + [row("none", reference=None, **DROPPED)]
    stage = Pair(kind="examples", replay=replay)
    decided = stage.table(connect("filtered", rows), "filtered")
    examples = checked(decided, "examples")
    assert [each["kind"] for each in examples].count("reference") == replayed
    assert len(examples) == 10 + replayed
    assert len(decided.warnings) == (1 if replay == 9.0 else 0)


def test_replayed_references_are_the_first_prompts_by_rank_of_a_digest() -> None:
    rows = [row(f"{at}", sample=sample) for at in range(10) for sample in (0, 1)]
    examples = decide(Pair(kind="examples", replay=0.2, seed=5), "filtered", rows)
    ranked = sorted((prompt_id(f"{at}") for at in range(10)), key=lambda each: hashlib.md5(f"5/replay/{each}".encode()).hexdigest())
    replayed = [each for each in examples if each["kind"] == "reference"]
    assert sorted(str(each["prompt_id"]) for each in replayed) == sorted(ranked[:4])
    for each in replayed:
        (at,) = (at for at in range(10) if prompt_id(f"{at}") == each["prompt_id"])
        assert (each["prompt"], each["completion"]) == ([{"role": "user", "content": f"question {at}"}], assistant(f"reference {at}"))
        assert (each["sample"], each["policy"]) == (0, None)


def test_example_of_a_prompt_is_its_reference() -> None:
    rows = [row("a", rejected="ignored"), row("b", reference=None), row("c", reference="")]
    assert decide(Pair(kind="examples"), "prompts", rows) == [
        {
            "prompt": [{"role": "user", "content": "question a"}],
            "completion": assistant("reference a"),
            "prompt_id": prompt_id("a"),
            "sample": 0,
            "kind": "reference",
            "source": "train.jsonl",
            "policy": None,
        }
    ]


def test_per_prompt_takes_the_lowest_samples_that_make_a_pair() -> None:
    rows = [row("a", **DROPPED), *(row("a", sample=sample) for sample in (3, 1, 2)), row("b")]
    assert sorted(keys(decide(Pair(per_prompt=2), "filtered", rows))) == sorted([(prompt_id("a"), 1), (prompt_id("a"), 2), (prompt_id("b"), 0)])


def test_limit_takes_the_first_pairs_by_rank_of_a_digest() -> None:
    rows = [row(f"{at}", sample=sample) for at in range(10) for sample in (0, 1)]
    all_keys = [(prompt_id(f"{at}"), sample) for at in range(10) for sample in (0, 1)]
    ranked = sorted(all_keys, key=lambda key: hashlib.md5(f"3/{key[0]}/{key[1]}".encode()).hexdigest())
    assert keys(decide(Pair(limit=6, seed=3), "filtered", rows)) == [key for key in all_keys if key in ranked[:6]]
    assert keys(decide(Pair(limit=100), "filtered", rows)) == all_keys
    assert len(decide(Pair(limit=5, per_prompt=1), "responses", rows)) == 5
    assert len(decide(Pair(limit=5, kind="examples", replay=0.4), "filtered", rows)) == 7


@pytest.mark.parametrize(
    ("kind", "source"), [("pairs", "filtered"), ("pairs", "responses"), ("pairs", "prompts"), ("examples", "filtered"), ("examples", "prompts")]
)
def test_no_rows_give_no_rows(kind: str, source: str) -> None:
    assert decide(Pair.model_validate({"kind": kind}), source, []) == []


@pytest.mark.parametrize(("kind", "source"), [("examples", "responses"), ("pairs", "scored"), ("pairs", "pairs")])
def test_what_can_not_be_made_of_a_table_is_refused(kind: str, source: str) -> None:
    with pytest.raises(RecipeError, match=rf"kind = {kind} cannot be made of {source}; what can be made is pairs of filtered"):
        Pair.model_validate({"kind": kind}).table(duckdb.connect(), source)


def test_prompts_without_any_rejected_answer_are_refused() -> None:
    with pytest.raises(SchemaError, match="none of 2 prompts has a rejected answer"):
        Pair().table(connect("prompts", [row("a"), row("b")]), "prompts")


@pytest.mark.parametrize(
    ("fields", "source"),
    [
        ({}, "filtered"),
        ({"per_prompt": 1}, "filtered"),
        ({"limit": 100}, "responses"),
        ({"kind": "examples"}, "filtered"),
        ({"kind": "examples", "limit": 100}, "filtered"),
        ({"kind": "examples"}, "prompts"),
    ],
)
def test_neither_order_nor_threads_nor_parts_change_what_is_made(tmp_path: Path, fields: dict[str, object], source: str) -> None:
    stage = Pair.model_validate(fields)
    samples = 1 if source == "prompts" else 2
    rows = [row(f"{at}", sample=sample, **(DROPPED if at % 3 == 0 else {})) for at in range(600) for sample in range(samples)]
    rows.sort(key=key)
    shuffled = random.Random(1).sample(rows, len(rows))
    made = []
    for case, (ordered, threads, part) in enumerate([(rows, 1, 10_000), (rows, 4, 20), (shuffled, 4, 20)]):
        given = [{name: value for name, value in each.items() if name in schema(source).column_names} for each in ordered]
        file = tmp_path / f"{case}.parquet"
        pq.write_table(pa.Table.from_pylist(given, schema=schema(source).arrow), file, row_group_size=part)
        con = duckdb.connect(config={"threads": threads})
        con.execute(f"CREATE VIEW input AS SELECT *, file_row_number AS position FROM read_parquet('{file}')")
        made.append(checked(stage.table(con, source), stage.writes))
    assert made[0]
    assert made[1] == made[0]
    stand = [(each.get("kind") == "reference", *key(each)) for each in made[0]]
    assert stand == sorted(stand) or source == "prompts"
    assert sorted(map(repr, made[2])) == sorted(map(repr, made[0]))


def test_texts_are_never_read_as_sql() -> None:
    hostile = "'}]; DROP VIEW input; --\u0000\"é"
    (pair,) = decide(Pair(limit=1), "filtered", [row("a", improved=hostile, response=hostile + "x", messages=[{"role": "user", "content": hostile}])])
    assert (pair["chosen"], pair["rejected"]) == (assistant(hostile), assistant(hostile + "x"))


def test_pair_reads_what_filter_writes() -> None:
    con = connect("scored", [row("a"), row("b", edited_words=0)])
    filtered: Decision = Filter().table(con, "scored")
    table = filtered.rows.to_arrow_table()
    after = connect("filtered", table.to_pylist())
    assert keys(checked(Pair().table(after, "filtered"), "pairs")) == [(prompt_id("a"), 0)]


@pytest.mark.parametrize("fields", [{"kind": "triples"}, {"replay": -0.1}, {"limit": 0}, {"per_prompt": 0}, {"unknown": 1}])
def test_fields_that_make_no_sense_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Pair.model_validate(fields)
