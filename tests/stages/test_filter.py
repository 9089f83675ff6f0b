import math
import random
import statistics
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from literal_rows import Values, checked, connect, key, row, rules
from pydantic import ValidationError

from sgpo_data.errors import RecipeError
from sgpo_data.schema import schema
from sgpo_data.stages import Decision
from sgpo_data.stages.filter.fences import MAX_GROUPS
from sgpo_data.stages.filter.filter import Filter, Gates
from sgpo_data.stages.filter.strategies import Ppl

NO_PPL = Ppl(strategy="none")


def decide(stage: Filter, rows: Sequence[Values]) -> tuple[list[Values], Decision]:
    decided = stage.table(connect("scored", rows), "scored")
    return checked(decided, "filtered"), decided


def failed(stage: Filter, rows: Sequence[Values]) -> list[list[str]]:
    return [rules(decided) for decided in decide(stage, rows)[0]]


def of_means(means: Sequence[float], tokens: int = 64) -> list[Values]:
    """Rows whose improved answers have these mean nlls; 64 tokens, so that means of binary fractions are exact."""
    return [row(f"{at:04}", improved_nll=mean * tokens, improved_tokens=tokens) for at, mean in enumerate(means)]


def kept_means(stage: Filter, means: Sequence[float]) -> list[float]:
    decided, _ = decide(stage, of_means(means))
    return [mean for mean, each in zip(means, decided, strict=True) if each["dropped_by"] is None]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, []),
        ({"finish": "length"}, ["finished"]),
        ({"improved_finish": "length"}, ["finished"]),
        ({"residue": "</s>"}, ["finished"]),
        ({"edited_words": 7}, ["changed"]),
        ({"edited_words": 8}, []),
        ({"edited_words": 0}, ["changed"]),
        ({"response_words": 200, "improved_words": 200, "edited_words": 9}, ["changed"]),
        ({"response_words": 200, "improved_words": 200, "edited_words": 10}, []),
        ({"response_words": 5, "improved_words": 5, "edited_words": 1}, ["changed"]),
        ({"response_words": 5, "improved_words": 5, "edited_words": 2}, []),
        ({"response_words": 4, "improved_words": 4, "edited_words": 1}, []),
        ({"edited_words": 90}, []),
        ({"edited_words": 91}, ["incremental"]),
        ({"reference_edited_words": 0}, ["not_reference"]),
        ({"reference_edited_words": 1}, ["not_reference"]),
        ({"reference_edited_words": 2}, []),
        ({"reference_edited_words": 0, "role": "improve", "refine_template": None}, []),
        ({"improved_words": 50, "edited_words": 60}, []),
        ({"improved_words": 49, "edited_words": 60}, ["length"]),
        ({"improved_words": 200, "edited_words": 120}, []),
        ({"improved_words": 201, "edited_words": 120}, ["length"]),
        ({"improved_words": 103, "improved_repeats": 50}, []),
        ({"improved_words": 103, "improved_repeats": 51}, ["repetition"]),
        ({"improved_words": 3, "response_words": 3, "edited_words": 2, "improved_repeats": 0}, []),
        ({"improved_nll": None}, ["unscored"]),
        ({"improved_nll": None, "improved_tokens": None}, ["unscored"]),
        ({"improved_tokens": 7}, ["too_short"]),
        ({"improved_tokens": 8}, []),
    ],
)
def test_gate_drops_what_is_beyond_its_bound_and_keeps_what_is_on_it(given: Values, expected: list[str]) -> None:
    assert failed(Filter(ppl=NO_PPL), [row(**given)]) == [expected]


@pytest.mark.parametrize(
    "given",
    [
        {"finish": "too_long", "response": None, "improved_finish": "no_response", "improver_prompt": None, "response_words": None, "response_repeats": None},
        {"improved_finish": "too_long"},
        {"improved_finish": "no_reference", "reference": None, "reference_words": None},
    ],
)
def test_row_without_an_answer_fails_finished_alone(given: Values) -> None:
    absent = Values(
        improved=None, improved_words=None, edited_words=None, reference_edited_words=None, improved_repeats=None, improved_nll=None, improved_tokens=None
    )
    assert failed(Filter(ppl=NO_PPL), [row(**{**absent, **given})]) == [["finished"]]


def test_blank_answer_fails_finished() -> None:
    (blank,) = failed(Filter(ppl=NO_PPL), [row(improved=" ", improved_words=0, edited_words=100, reference_edited_words=100)])
    assert blank == ["finished", "incremental", "length"]


def test_failed_rules_stand_in_the_order_of_the_rules_and_the_first_drops() -> None:
    rest = of_means([1.0] * 40)
    worst = row(
        "worst", residue="</s>", edited_words=0, reference_edited_words=0, improved_words=500, improved_repeats=400, improved_tokens=4, improved_nll=80.0
    )
    decided, _ = decide(Filter(), [*rest, worst])
    assert decided[-1]["failed_rules"] == ["finished", "changed", "not_reference", "length", "repetition", "too_short", "ppl"]
    assert decided[-1]["dropped_by"] == "finished"
    positions = [Filter().rule_names.index(rule) for rule in rules(decided[-1])]
    assert positions == sorted(positions)
    assert all(each["dropped_by"] is None and each["failed_rules"] == [] for each in decided[:-1])


def test_lowest_sample_that_passes_the_gates_is_the_unique_one() -> None:
    rows = [
        row("a", sample=0, improved="same", edited_words=0),
        row("a", sample=1, improved="same"),
        row("a", sample=2, improved="same"),
        row("a", sample=3, improved="same", residue="</s>"),
        row("a", sample=4, improved="other"),
        row("b", sample=0, improved="same"),
    ]
    assert failed(Filter(ppl=NO_PPL), rows) == [["changed"], [], ["unique"], ["finished"], [], []]
    assert failed(Filter(ppl=NO_PPL, gates=Gates(unique=False)), rows) == [["changed"], [], [], ["finished"], [], []]
    assert failed(Filter(ppl=NO_PPL), rows[::-1]) == [[], [], ["finished"], ["unique"], [], ["changed"]]


def test_tukey_keeps_what_lies_within_its_fences() -> None:
    # Quartiles at positions 0.25 * 9 and 0.75 * 9: 3.25 and 7.75, so the fences are 3.25 - 6.75 and 7.75 + 6.75.
    means = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 14.5]
    stage = Filter(ppl=Ppl(min_rows=10))
    assert kept_means(stage, means) == means
    assert kept_means(stage, [*means[:-1], 14.625]) == means[:-1]
    _, decided = decide(stage, of_means(means))
    assert decided.facts == {"ppl.rows": 10, "ppl.q1": 3.25, "ppl.q3": 7.75, "ppl.low": -3.5, "ppl.high": 14.5}


@pytest.mark.parametrize(
    ("side", "kept"),
    [("both", [10.0, 11.0, 12.0, 13.0, 14.0]), ("upper", [0.0, 10.0, 11.0, 12.0, 13.0, 14.0]), ("lower", [10.0, 11.0, 12.0, 13.0, 14.0, 24.0])],
)
def test_side_says_which_fence_drops(side: str, kept: list[float]) -> None:
    # Quartiles at positions 1.5 and 4.5: 10.5 and 13.5, so the fences of k = 1.5 are 6 and 18.
    stage = Filter.model_validate({"ppl": {"side": side, "min_rows": 1}})
    assert kept_means(stage, [0.0, 10.0, 11.0, 12.0, 13.0, 14.0, 24.0]) == kept


def test_space_ppl_compares_exponentials() -> None:
    # As perplexities 1 to 9 and 28, the upper fence is 14.5; as nll it is ln 7 + 0.75 ln(8/7) + 1.5 IQR = 3.36, above ln 28 = 3.33.
    means = [math.log(value) for value in (1, 2, 3, 4, 5, 6, 7, 8, 9, 28)]
    assert kept_means(Filter(ppl=Ppl(min_rows=1, space="nll")), means) == means
    assert kept_means(Filter(ppl=Ppl(min_rows=1, space="ppl")), means) == means[:-1]


def test_perplexity_beyond_a_double_is_above_the_fence() -> None:
    means = [1.0, 1.5, 2.0, 2.5, 3.0, 2000.0]
    assert kept_means(Filter(ppl=Ppl(min_rows=1, space="ppl")), means) == means[:-1]


def test_quantile_keeps_what_lies_between_two_quantiles() -> None:
    # Of 0 to 20, the 0.1 and 0.9 quantiles are at positions 2 and 18, and those are kept.
    stage = Filter(ppl=Ppl(strategy="quantile", low=0.1, high=0.9, min_rows=1))
    assert kept_means(stage, [float(value) for value in range(21)]) == [float(value) for value in range(2, 19)]
    _, decided = decide(stage, of_means([float(value) for value in range(21)]))
    assert decided.facts == {"ppl.rows": 21, "ppl.low": 2.0, "ppl.high": 18.0}


def test_fences_are_those_of_the_standard_library() -> None:
    draw = random.Random(3)
    means = [draw.lognormvariate(0, 0.8) for _ in range(211)]
    q1, _, q3 = statistics.quantiles(means, n=4, method="inclusive")
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    kept = kept_means(Filter(), means)
    assert kept == [mean for mean in means if low <= mean <= high]
    assert 0 < len(kept) < len(means)


@pytest.mark.parametrize("strategy", ["tukey", "quantile"])
def test_ties_are_kept_together(strategy: str) -> None:
    stage = Filter.model_validate({"ppl": {"strategy": strategy, "min_rows": 1}})
    assert kept_means(stage, [1 / 3] * 50) == [1 / 3] * 50


def test_none_keeps_any_likelihood() -> None:
    rows, decided = decide(Filter(ppl=NO_PPL), of_means([1.0] * 60 + [500.0]))
    assert all(each["dropped_by"] is None for each in rows)
    assert decided.warnings == ()
    assert decided.facts == {}


def test_fences_are_taken_from_the_rows_that_fail_no_other_rule() -> None:
    bad = [row(f"bad{at}", improved_nll=6400.0, edited_words=0) for at in range(50)]
    short = [row(f"short{at}", improved_nll=700.0, improved_tokens=7) for at in range(50)]
    stage = Filter(ppl=Ppl(min_rows=5))
    decided, facts = decide(stage, [*of_means([1.0, 2.0, 3.0, 4.0, 5.0]), *bad, *short])
    assert facts.facts == {"ppl.rows": 5, "ppl.q1": 2.0, "ppl.q3": 4.0, "ppl.low": -1.0, "ppl.high": 7.0}
    assert {tuple(rules(each)) for each in decided} == {(), ("changed", "ppl"), ("too_short", "ppl")}


def test_under_min_rows_no_row_is_dropped_by_its_perplexity_and_a_warning_says_so() -> None:
    means = [1.0] * 38 + [100.0]
    rows, decided = decide(Filter(), of_means(means))
    assert all(each["dropped_by"] is None for each in rows)
    assert len(decided.warnings) == 1
    assert "39 rows" in decided.warnings[0]
    assert "ppl.min_rows = 40" in decided.warnings[0]
    assert kept_means(Filter(), [*means, 1.0]) == [1.0] * 39


def test_each_group_has_fences_of_its_own_and_null_is_a_group() -> None:
    means = [1.0, 1.5, 2.0, 2.5, 30.0]
    rows: list[Values] = []
    for name, template in (("low", "t"), ("high", None), ("text", "null")):
        shift = 28.0 if name == "high" else 0.0
        role = {"role": "improve"} if template is None else {}
        rows += [row(f"{name}{at}", improved_nll=(mean + shift) * 100, refine_template=template, **role) for at, mean in enumerate(means)]
    decided, whole = decide(Filter(ppl=Ppl(group_by="refine_template", min_rows=5)), rows)
    assert [each["dropped_by"] for each in decided] == [None, None, None, None, "ppl"] * 3
    assert whole.facts is not None
    assert whole.facts['ppl.q3["t"]'] == 2.5
    assert whole.facts["ppl.q3[null]"] == 30.5
    assert whole.facts['ppl.q3["null"]'] == 2.5


def test_group_under_min_rows_is_named() -> None:
    rows = [row(str(at), source="big") for at in range(6)] + [row("x", source="small")]
    _, decided = decide(Filter(ppl=Ppl(group_by="source", min_rows=5)), rows)
    assert len(decided.warnings) == 1
    assert "small" in decided.warnings[0]


def test_grouping_by_a_key_is_refused() -> None:
    rows = [row(str(at)) for at in range(MAX_GROUPS + 1)]
    with pytest.raises(RecipeError, match=r"ppl\.group_by = prompt_id makes 1001 groups"):
        Filter(ppl=Ppl(group_by="prompt_id")).table(connect("scored", rows), "scored")


def test_no_row_kept_is_a_warning_that_names_the_rules() -> None:
    rows, decided = decide(Filter(), [row("a", edited_words=0), row("b", edited_words=0), row("c", finish="length")])
    assert [each["dropped_by"] for each in rows].count("changed") == 2
    assert any("no row is kept of 3; dropped by changed 2, finished 1" in warning for warning in decided.warnings)


def test_empty_table_gives_an_empty_table_and_a_warning() -> None:
    for stage in (Filter(), Filter(ppl=Ppl(strategy="quantile", group_by="role")), Filter(ppl=NO_PPL)):
        rows, decided = decide(stage, [])
        assert rows == []
        assert "no row is kept of 0" in decided.warnings[-1]


def test_one_row_is_its_own_fence() -> None:
    assert kept_means(Filter(ppl=Ppl(min_rows=1)), [1 / 3]) == [1 / 3]


def test_all_columns_of_the_input_are_carried_unchanged() -> None:
    rows = [row(str(at), improved_nll=None) for at in range(3)]
    decided, _ = decide(Filter(), rows)
    for before, after in zip(rows, decided, strict=True):
        assert {name: after[name] for name in schema("scored").column_names} == {name: before[name] for name in schema("scored").column_names}


HOSTILE = "x'); DROP VIEW input; --\"${getvariable('ppl.k')}"


def test_values_of_columns_are_never_read_as_sql() -> None:
    rows = [row(str(at), source=HOSTILE, improved=HOSTILE + str(at), residue=None, policy="' OR 1=1") for at in range(50)]
    decided, whole = decide(Filter(ppl=Ppl(group_by="source")), rows)
    assert [each["source"] for each in decided] == [HOSTILE] * 50
    assert whole.facts is not None
    assert any("DROP VIEW input" in name for name in whole.facts)


@pytest.mark.parametrize("name", ["no_such_column", HOSTILE, '"source"', "source FROM input; --", ""])
def test_group_by_is_a_column_of_scored(name: str) -> None:
    with pytest.raises(ValidationError, match="no column"):
        Ppl(group_by=name)


@pytest.mark.parametrize("column", schema("scored").column_names)
def test_group_by_takes_every_column_of_scored(column: str) -> None:
    rows, _ = decide(Filter(ppl=Ppl(group_by=column, min_rows=1)), [row("a"), row("b", improved_nll=None)])
    assert [each["dropped_by"] for each in rows] == [None, "unscored"]


def many_rows() -> list[Values]:
    draw = random.Random(7)
    return [
        row(
            str(prompt),
            sample=sample,
            improved=f"answer {draw.randrange(3)}",
            edited_words=draw.randrange(0, 100),
            improved_nll=draw.lognormvariate(4.6, 0.8),
            source=draw.choice(["a", "b"]),
        )
        for prompt in range(500)
        for sample in range(4)
    ]


@pytest.mark.parametrize("strategy", ["tukey", "quantile"])
@pytest.mark.parametrize("samples", [1, 4])
def test_neither_order_nor_threads_nor_parts_change_what_is_kept(tmp_path: Path, strategy: str, samples: int) -> None:
    stage = Filter.model_validate({"ppl": {"strategy": strategy, "group_by": "source"}})
    rows = sorted((each for each in many_rows() if key(each)[1] < samples), key=key)
    shuffled = random.Random(1).sample(rows, len(rows))
    outcomes = set()
    for case, (ordered, threads, part) in enumerate([(rows, 1, 10_000), (rows, 4, 50), (shuffled, 4, 50), (shuffled, 1, 333)]):
        scored = [{name: value for name, value in each.items() if name in schema("scored").column_names} for each in ordered]
        file = tmp_path / f"{case}.parquet"
        pq.write_table(pa.Table.from_pylist(scored, schema=schema("scored").arrow), file, row_group_size=part)
        con = duckdb.connect(config={"threads": threads})
        con.execute(f"CREATE VIEW input AS SELECT *, file_row_number AS position FROM read_parquet('{file}')")
        decided = checked(stage.table(con, "scored"), "filtered")
        if ordered is rows:
            assert [key(each) for each in decided] == [key(each) for each in rows]
        outcomes.add(frozenset((*key(each), *rules(each)) for each in decided))
    assert len(outcomes) == 1
    met = {rule for _, _, *failed_rules in outcomes.pop() for rule in failed_rules}
    assert {"changed", "incremental", "ppl"} <= met
    assert ("unique" in met) == (samples > 1)


def test_identity_holds_every_field_and_the_bytes_of_the_sql() -> None:
    tukey, quantile = Filter().identity(), Filter(ppl=Ppl(strategy="quantile")).identity()
    assert isinstance(tukey, dict)
    assert isinstance(quantile, dict)
    assert tukey["gates"] == Gates().model_dump()
    assert isinstance(tukey["sql"], dict)
    assert isinstance(quantile["sql"], dict)
    assert set(tukey["sql"]) ^ set(quantile["sql"]) == {"tukey.sql", "quantile.sql"}


@pytest.mark.parametrize(
    "fields",
    [
        {"ppl": {"k": 0}},
        {"ppl": {"k": math.inf}},
        {"ppl": {"low": 0.9, "high": 0.1}},
        {"ppl": {"strategy": "best"}},
        {"ppl": {"max_ppl": 3}},
        {"gates": {"min_edit": 0.9, "max_edit": 0.1}},
        {"gates": {"min_length_ratio": 3}},
        {"gates": {"max_repetition": math.nan}},
    ],
)
def test_bounds_that_make_no_sense_are_refused(fields: dict[str, dict[str, object]]) -> None:
    with pytest.raises(ValidationError):
        Filter.model_validate(fields)
