"""Claims about the strategies of filter, against values worked out by hand, and about what has no value."""

import math
from collections.abc import Sequence

import pytest
from literal_rows import Values, checked, connect, row, rules
from pydantic import ValidationError

from sgpo_data.errors import RecipeError
from sgpo_data.stages import Decision
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.filter.strategies import STRATEGIES, Ppl


def stage(strategy: str, **fields: object) -> Filter:
    return Filter.model_validate({"ppl": {"strategy": strategy, "min_rows": 1, **fields}})


def decide(given: Filter, rows: Sequence[Values]) -> Decision:
    return given.table(connect("scored", rows), "scored")


def failed(given: Filter, rows: Sequence[Values]) -> list[list[str]]:
    return [rules(each) for each in checked(decide(given, rows), "filtered")]


def scored(name: str, *, improved: float, response: float = 3.0, reference: float | None = 1.0, draft: float = 1.0, given: Values | None = None) -> Values:
    """Mean nlls over 64 tokens, of the reference over 32: binary fractions stay exact."""
    nll = {"improved_nll": improved * 64, "response_nll": response * 64, "reference_nll": None if reference is None else reference * 32}
    tokens = {"improved_tokens": 64, "response_tokens": 64, "reference_tokens": 32}
    return row(name, **{**nll, **tokens, "improved_nll_given_draft": draft * 64, **(given or {})})


@pytest.mark.parametrize(
    ("improved", "response", "reference", "kept"),
    [
        # From 3 to 1: rho = (3 - improved) / 2, kept in [0.25, 0.75].
        (2.5, 3.0, 1.0, True),
        (2.5625, 3.0, 1.0, False),
        (1.5, 3.0, 1.0, True),
        (1.4375, 3.0, 1.0, False),
        (3.5, 3.0, 1.0, False),
        (1.0, 3.0, 1.0, False),
        # From 1 to 3: rho = (improved - 1) / 2.
        (1.5, 1.0, 3.0, True),
        (0.5, 1.0, 3.0, False),
        # 1/16 nats apart is a way, and 1/32 is none: undefined, and kept here.
        (3.03125, 3.0, 3.0625, True),
        (9.0, 3.0, 3.0625, False),
        (9.0, 3.0, 3.03125, True),
        (9.0, 3.0, 3.0, True),
        (9.0, 3.0, None, True),
    ],
)
def test_sandwich_keeps_what_has_gone_some_of_the_way_to_the_reference(improved: float, response: float, reference: float | None, kept: bool) -> None:
    given = stage("sandwich", sandwich={"low": 0.25, "high": 0.75, "undefined": "keep"})
    assert failed(given, [scored("a", improved=improved, response=response, reference=reference)]) == [[] if kept else ["sandwich"]]


@pytest.mark.parametrize(("undefined", "dropped"), [("keep", []), ("drop", [1.0, 2.0, 3.0, 4.0, 100.0]), ("tukey", [100.0])])
def test_sandwich_without_a_reference_does_what_undefined_says(undefined: str, dropped: list[float]) -> None:
    # Quartiles of 1, 2, 3, 4, 100 are 2 and 4, so the fences are -1 and 7; the rows with a reference are no part of it.
    without = [scored(f"w{mean}", improved=mean, reference=None) for mean in (1.0, 2.0, 3.0, 4.0, 100.0)]
    given = stage("sandwich", sandwich={"undefined": undefined})
    outcome = failed(given, [*without, scored("x", improved=2.0), scored("y", improved=50.0)])
    assert [mean for mean, each in zip((1.0, 2.0, 3.0, 4.0, 100.0), outcome, strict=False) if each] == dropped
    assert outcome[5:] == [[], ["sandwich"]]
    found = decide(given, [*without, scored("x", improved=2.0)])
    fences = {"rows": 5, "q1": 2.0, "q3": 4.0, "low": -1.0, "high": 7.0}
    own = {"ppl.sandwich.rows": 1, "ppl.sandwich.undefined": 5, "ppl.sandwich.low": 0.05, "ppl.sandwich.high": 0.9}
    assert found.facts == own | ({f"ppl.sandwich.tukey.{name}": value for name, value in fences.items()} if undefined == "tukey" else {})
    assert "sandwich is undefined for 5 of the 6 rows that reach it" in found.warnings


def test_sandwich_bounds_are_those_of_the_method() -> None:
    assert Ppl().sandwich.model_dump() == {"low": 0.05, "high": 0.9, "min_gap": 0.05, "undefined": "tukey"}
    assert Ppl().ratio.model_dump() == {"low": 0.3, "high": 0.98}


@pytest.mark.parametrize(
    ("draft", "kept"),
    # Alone 2 nats per token: the ratio is e^(draft - 2), so 0.368, 0.223, 1, 0.939, 0.984.
    [(1.0, True), (0.5, False), (2.0, False), (1.9375, True), (1.984375, False), (900.0, False)],
)
def test_ratio_keeps_rewrites_that_the_draft_helps_but_does_not_dictate(draft: float, kept: bool) -> None:
    assert failed(stage("ratio"), [scored("a", improved=2.0, draft=draft)]) == [[] if kept else ["ratio"]]


@pytest.mark.parametrize(
    ("fields", "response", "improved", "kept"),
    [({}, 1.0, 1.0, True), ({}, 1.0, 0.75, False), ({}, -3.0, 5.0, True), ({"high": 2.0}, 0.0, 2.0, True), ({"high": 2.0}, 0.0, 2.5, False)],
)
def test_margin_keeps_what_the_reward_model_prefers(fields: dict[str, float], response: float, improved: float, kept: bool) -> None:
    given = [row("a", response_reward=response, improved_reward=improved), row("b")]
    assert failed(stage("margin", margin=fields), given) == [[] if kept else ["margin"], []]


def test_margin_without_any_reward_says_what_is_missing() -> None:
    with pytest.raises(RecipeError, match=r"ppl.strategy = margin needs rewards, and no row has one; give score-ppl a reward model"):
        decide(stage("margin"), [row("a", response_reward=None, improved_reward=None, reward_model=None)])


def test_each_strategy_of_a_chain_takes_its_fences_from_what_those_before_it_keep() -> None:
    # Half of the rows copy the draft. With them the fences of tukey are far out; without, they are -1 and 7.
    copied = [scored(f"c{at}", improved=100.0, draft=1.0) for at in range(5)]
    rows = [*copied, *(scored(f"{mean}", improved=mean, draft=mean - 0.5) for mean in (1.0, 2.0, 3.0, 4.0, 5.0))]
    assert failed(stage("tukey"), rows) == [[]] * 10
    assert failed(stage("tukey+ratio"), rows) == [["ratio"]] * 5 + [[]] * 5
    assert failed(stage("ratio+tukey"), rows) == [["ratio", "ppl"]] * 5 + [[]] * 5
    assert decide(stage("ratio+tukey"), rows).facts == {
        "ppl.ratio.rows": 10,
        "ppl.ratio.undefined": 0,
        "ppl.ratio.low": 0.3,
        "ppl.ratio.high": 0.98,
        "ppl.rows": 5,
        "ppl.q1": 2.0,
        "ppl.q3": 4.0,
        "ppl.low": -1.0,
        "ppl.high": 7.0,
    }


def test_the_second_of_two_fences_on_the_likelihood_drops_under_its_own_name() -> None:
    rows = [scored(f"{at}", improved=float(at), draft=float(at)) for at in range(21)]
    given = stage("tukey+quantile", low=0.1, high=0.9)
    assert failed(given, rows) == [["quantile"]] * 2 + [[]] * 17 + [["quantile"]] * 2
    assert {"ppl.low": -10.0, "ppl.high": 30.0, "ppl.quantile.low": 2.0, "ppl.quantile.high": 18.0}.items() <= decide(given, rows).facts.items()
    assert given.rule_names[-2:] == ("ppl", "quantile")


CHAINS = [*STRATEGIES, "sandwich+ratio+margin+tukey+quantile"]
ABSENT = [None, math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("strategy", CHAINS)
@pytest.mark.parametrize("value", ABSENT)
def test_a_rewrite_without_a_likelihood_is_unscored_and_moves_no_fence(strategy: str, value: float | None) -> None:
    rows = [scored(f"{mean}", improved=mean, draft=mean - 0.5) for mean in (1.5, 2.0, 2.5)]
    before = decide(stage(strategy), rows)
    after = decide(stage(strategy), [*rows, scored("x", improved=2.0, given={"improved_nll": value})])
    found = after.rows.project("failed_rules").fetchall()
    assert found[:3] == before.rows.project("failed_rules").fetchall()
    assert found[3] == (["unscored"],)
    assert after.facts == before.facts


@pytest.mark.parametrize("value", ABSENT)
@pytest.mark.parametrize(
    ("strategy", "column"),
    [("sandwich", "response_nll"), ("sandwich", "reference_nll"), ("ratio", "improved_nll_given_draft"), ("margin", "improved_reward")],
)
def test_a_row_whose_other_measure_is_absent_is_kept_and_counted(strategy: str, column: str, value: float | None) -> None:
    rows = [scored("a", improved=2.0, draft=1.5), scored("b", improved=2.0, draft=1.5, given={column: value})]
    decided = decide(stage(strategy), rows)
    assert decided.rows.project("failed_rules").fetchall() == [([],), ([],)]
    assert (decided.facts[f"ppl.{strategy}.rows"], decided.facts[f"ppl.{strategy}.undefined"]) == (1, 1)


@pytest.mark.parametrize("strategy", CHAINS)
def test_no_rows_one_row_and_equal_rows_have_an_outcome(strategy: str) -> None:
    one = scored("a", improved=2.0, draft=1.5)
    assert failed(stage(strategy), []) == []
    assert failed(stage(strategy), [one]) == [[]]
    assert failed(stage(strategy), [one, *(scored(f"{at}", improved=2.0, draft=1.5) for at in range(60))]) == [[]] * 61


@pytest.mark.parametrize("strategy", CHAINS)
def test_a_table_of_which_nothing_is_left_has_fences_of_none(strategy: str) -> None:
    decided = decide(stage(strategy), [scored(f"{at}", improved=float(at), given={"edited_words": 0}) for at in range(3)])
    assert {dropped for (dropped,) in decided.rows.project("dropped_by").fetchall()} == {"changed"}
    assert "no row is kept of 3; dropped by changed 3" in decided.warnings
    assert not any(name.endswith(".q1") or name == "ppl.low" for name in decided.facts)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strategy": "best"}, "no strategy best; there are tukey, quantile, sandwich, ratio, margin, none"),
        ({"strategy": "tukey+best"}, "no strategy best"),
        ({"strategy": "tukey+tukey"}, "each strategy stands once"),
        ({"strategy": "none+tukey"}, "none stands alone"),
        ({"strategy": ""}, "no strategy"),
        ({"strategy": "tukey'); DROP VIEW input; --"}, "no strategy"),
        ({"sandwich": {"low": 0.9, "high": 0.1}}, "low = 0.9 is not below high = 0.1"),
        ({"sandwich": {"min_gap": 0}}, "greater than 0"),
        ({"ratio": {"low": -1}}, "greater than or equal to 0"),
        ({"margin": {"low": 3, "high": 1}}, "low = 3.0 is not below high = 1.0"),
        ({"margin": {"low": math.nan}}, "finite"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Ppl.model_validate(fields)
