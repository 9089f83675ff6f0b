"""Numbers of health by hand, and what becomes of them."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from literal_rows import Values, row
from made import made_dataset
from made_run import made_model, made_run, planned
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.errors import DatasetError
from sgpo_data.health.health import Finding, Health, RoundHealth, health
from sgpo_data.health.measures import MEASURES, Measure, Thresholds
from sgpo_data.loop.rounds import open_run
from sgpo_data.store.guard import NUMBERS, GuardRecord, write_guard_record


def rows(count: int, **given: object) -> list[Values]:
    return [row(f"p{number}", **given) for number in range(count)]


def pair(chosen: str, rejected: str, name: str, **given: object) -> Values:
    texts = {side: [{"role": "assistant", "content": text}] for side, text in (("chosen", chosen), ("rejected", rejected))}
    whole: Values = {**row(name), "prompt": [{"role": "user", "content": "q"}], "chosen_tokens": None, "rejected_tokens": None, **given}
    return {**whole, **texts}


def of(found: Health, place: str) -> RoundHealth:
    return next(each for each in found.rounds if each.place == place)


def finding(found: RoundHealth, name: str) -> Finding:
    return next(each for each in found.findings if each.measure.name == name)


def value(tmp_path: Path, given: list[Values], name: str, table: str = "filtered") -> float | None:
    return finding(health(made_run(tmp_path, {"policy-1": {table: given}})).rounds[0], name).value


def test_lengths_are_mean_and_95th_percentile_of_the_scorers_tokens(tmp_path: Path) -> None:
    given = [row(f"p{number}", response_tokens=number, improved_tokens=2 * number) for number in range(1, 102)]
    found = health(made_run(tmp_path, {"policy-1": {"filtered": given}})).rounds[0]
    assert finding(found, "response_tokens_mean").value == 51
    assert finding(found, "response_tokens_p95").value == 96
    assert finding(found, "improved_tokens_mean").value == 102
    assert finding(found, "improved_tokens_p95").value == 192


def test_lengths_of_responses_that_are_not_scored_are_those_sampled(tmp_path: Path) -> None:
    assert value(tmp_path, [row("a", sampled_tokens=4), row("b", sampled_tokens=7)], "response_tokens_mean", "responses") == 5.5


def test_truncation_is_a_share_of_the_answers_there_are(tmp_path: Path) -> None:
    given = [
        row("a", finish="length"),
        row("b"),
        row("c"),
        row("d", response=None, finish="too_long", improved=None, improved_finish="no_response", improver_prompt=None),
    ]
    assert value(tmp_path, given, "response_truncated") == pytest.approx(1 / 3)


def test_repeated_4_grams_are_a_share_of_all_4_grams(tmp_path: Path) -> None:
    given = [row("a", response_repeats=3, response_words=9), row("b", response_repeats=1, response_words=13), row("c", response_repeats=0, response_words=2)]
    assert value(tmp_path, given, "response_repeats") == 4 / 16


def test_equal_answers_are_those_beyond_the_first_of_each_text(tmp_path: Path) -> None:
    given = [row("a", response="x"), row("b", response="x"), row("c", response="x"), row("d", response="y"), row("e", response=None, finish="refused")]
    assert value(tmp_path, given, "equal_responses") == 2 / 4


def test_perplexity_under_the_policy_is_of_all_tokens_together(tmp_path: Path) -> None:
    given = [row("a", sampled_nll=3.0, sampled_tokens=4), row("b", sampled_nll=1.0, sampled_tokens=6), row("c", sampled_nll=None, sampled_tokens=90)]
    assert value(tmp_path, given, "policy_ppl") == pytest.approx(math.exp(0.4))


def test_edits_are_the_median_share_of_the_longer_answer(tmp_path: Path) -> None:
    given = [
        row("a", edited_words=1, response_words=10, improved_words=4),
        row("b", edited_words=3, response_words=4, improved_words=10),
        row("c", edited_words=5, response_words=5, improved_words=0),
        row("d", edited_words=0, response_words=0, improved_words=0),
    ]
    assert value(tmp_path, given, "edit") == pytest.approx(0.3)


def test_unchanged_rewrites_are_counted_among_rows_with_both_texts(tmp_path: Path) -> None:
    given = [row("a", response="x", improved="x"), row("b"), row("c"), row("d", improved=None, improved_finish="refused")]
    assert value(tmp_path, given, "unchanged") == pytest.approx(1 / 3)


def test_kept_is_the_share_that_no_rule_drops_and_rules_are_told(tmp_path: Path) -> None:
    given = [row("a"), row("b", dropped_by="length", failed_rules=["length"]), row("c"), row("d")]
    found = health(made_run(tmp_path, {"policy-1": {"filtered": given}})).rounds[0]
    assert finding(found, "kept").value == 0.75
    assert found.dropped == {"kept": 3, "length": 1}


def test_prompts_left_out_before_anything_was_generated_are_not_lost_by_the_filter(tmp_path: Path) -> None:
    nothing = {"response": None, "improved": None, "improved_finish": "no_response", "improver_prompt": None}
    marked = [row("c", duplicate_of=row("a")["prompt_id"], finish="duplicate"), row("d", contaminated_by="set", finish="contaminated")]
    given = [row("a"), row("b", dropped_by="length", failed_rules=["length"])]
    given += [{**each, **nothing, "dropped_by": "finished", "failed_rules": ["finished"]} for each in marked]
    assert finding(health(made_run(tmp_path, {"policy-1": {"filtered": given}})).rounds[0], "kept").value == 0.5


def test_chosen_is_longer_by_tokens_or_where_they_are_missing_by_characters(tmp_path: Path) -> None:
    given = [
        pair("long", "s", "a", chosen_tokens=1, rejected_tokens=2),
        pair("s", "long", "b", chosen_tokens=3, rejected_tokens=2),
        pair("long", "s", "c"),
        pair("a", "b", "d"),
    ]
    assert value(tmp_path, given, "longer_chosen", "pairs") == 0.5


def test_distinct_word_pairs_are_a_share_over_as_many_words_in_every_round(tmp_path: Path) -> None:
    # 300 words of one prompt: "a b a b ..." has two pairs of 299; a second round has only 200 words.
    short = " ".join(f"w{number}" for number in range(200))
    run = made_run(tmp_path, {"p-1": {"responses": [row("a", response="a b " * 150)]}, "p-2": {"responses": [row("a", response=short)]}})
    found = health(run)
    assert found.words == 200
    assert finding(of(found, "p-1"), "response_distinct_2").value == pytest.approx(2 / 199)
    assert finding(of(found, "p-2"), "response_distinct_2").value == 1


def test_few_words_tell_nothing_of_diversity(tmp_path: Path) -> None:
    found = finding(health(made_run(tmp_path, {"p-1": {"responses": [row("a", response="a b c")]}})).rounds[0], "response_distinct_2")
    assert (found.value, found.verdict, found.why) == (None, "unmeasured", "fewer than 200 words")


def test_drift_of_chosen_is_its_reward_since_the_first_step_by_beta_and_token(tmp_path: Path) -> None:
    run = made_run(tmp_path, {"policy-1": {"pairs": [pair("x", "y", "a", chosen_tokens=10), pair("x", "y", "b", chosen_tokens=30)]}})
    rewards = [0.5, 0.0, *[-0.7] * 18]
    made_model(run.folder / "policy-1" / "model", {"rewards/chosen": rewards}, inputs=[run.rounds[0].datasets["pairs"]], beta=0.1)
    found = finding(health(open_run("run", tmp_path)).rounds[0], "chosen_drift")
    assert found.value == pytest.approx((-0.7 - 0.5) / 0.1 / 20)
    assert found.verdict == "alarm"


def test_drift_is_not_told_when_the_pairs_have_no_tokens(tmp_path: Path) -> None:
    run = made_run(tmp_path, {"policy-1": {"pairs": [pair("x", "y", "a")]}})
    made_model(run.folder / "policy-1" / "model", {"rewards/chosen": [0.0] * 9 + [0.1]}, inputs=[run.rounds[0].datasets["pairs"]])
    found = finding(health(open_run("run", tmp_path)).rounds[0], "chosen_drift")
    assert (found.value, found.why) == (None, "not logged, or the pairs have no token counts")


def test_accuracy_is_early_in_the_second_quarter_of_the_first_epoch_and_last_in_the_last_tenth(tmp_path: Path) -> None:
    accuracies = [0.0] * 5 + [0.96] * 5 + [0.5] * 8 + [0.6, 0.4]
    made_model(tmp_path / "run" / "policy-1" / "model", {"rewards/accuracies": accuracies})
    found = health(open_run("run", tmp_path)).rounds[0]
    early, last = finding(found, "early_accuracy"), finding(found, "last_accuracy")
    assert early.value == pytest.approx(0.96)
    assert early.verdict == "alarm"
    assert last.value == pytest.approx(0.5)
    assert last.verdict == "alarm"


def test_kl_is_how_much_less_likely_the_scorer_finds_what_the_policy_sampled_per_token(tmp_path: Path) -> None:
    given = [
        row("a", sampled_nll=10.0, response_nll=16.0, response_tokens=10),
        row("b", sampled_nll=20.0, response_nll=24.0, response_tokens=30),
        row("c", sampled_nll=None, response_nll=90.0, response_tokens=30),
    ]
    found = finding(health(made_run(tmp_path, {"policy-1": {"scored": given}})).rounds[0], "kl")
    assert found.value == pytest.approx((6 + 4) / 40)
    assert found.verdict == "shown"


@pytest.mark.parametrize(("steps", "words"), [(2, "too few steps: 2, and fewer than 10 tell nothing"), (9, "too few steps: 9"), (10, None)])
def test_a_training_of_a_few_steps_is_no_alarm_and_says_so(tmp_path: Path, steps: int, words: str | None) -> None:
    run = made_run(tmp_path, {"policy-1": {"pairs": [pair("x", "y", "a", chosen_tokens=10)]}})
    logged = {"rewards/accuracies": [0.0] * steps, "rewards/chosen": [0.0] + [-0.9] * (steps - 1)}
    made_model(run.folder / "policy-1" / "model", logged, inputs=[run.rounds[0].datasets["pairs"]])
    found = health(open_run("run", tmp_path)).rounds[0]
    for name in ("last_accuracy", "chosen_drift"):
        each = finding(found, name)
        assert each.verdict == ("alarm" if words is None else "unmeasured")
        assert (each.why or "").startswith(words or "")
        assert (each.why is None) == (words is None)


def test_references_are_compared_between_scorers_over_the_prompts_of_both(tmp_path: Path) -> None:
    first = rows(60, scorer="model-0", reference_nll=10.0, reference_tokens=10)
    later = [*rows(50, scorer="model-1", reference_nll=11.0, reference_tokens=10), row("other", scorer="model-1", reference_nll=99.0)]
    run = made_run(tmp_path, {"a-1": {"scored": first}, "b-1": {"scored": later}})
    found = finding(of(health(run), "b-1"), "reference_nll_rise")
    assert found.value == pytest.approx(0.1)
    assert found.verdict == "alarm"
    assert finding(of(health(run), "a-1"), "reference_nll_rise").why == "no other model has scored references of this round before"


def test_references_of_too_few_common_prompts_tell_nothing(tmp_path: Path) -> None:
    run = made_run(tmp_path, {"a-1": {"scored": rows(9, scorer="model-0")}, "b-1": {"scored": rows(9, scorer="model-1")}})
    assert finding(of(health(run), "b-1"), "reference_nll_rise").value is None


def test_growth_is_held_against_the_round_before_that_rewrites_in_the_same_role(tmp_path: Path) -> None:
    improve = {"role": "improve", "refine_template": None}
    run = made_run(
        tmp_path,
        {
            "a-1": {"filtered": rows(4, role="refine", response_tokens=10)},
            "b-1": {"filtered": rows(5, **improve, response_tokens=100)},
            "c-1": {"filtered": rows(6, **improve, response_tokens=124)},
            "d-1": {"filtered": rows(7, **improve, response_tokens=160)},
        },
    )
    found = health(run)
    told = [(each.like, finding(each, "response_tokens_mean").verdict) for each in found.rounds]
    assert told == [(None, "shown"), (None, "shown"), ("b-1", "fine"), ("c-1", "alarm")]
    assert any(line.startswith("d-1: response, mean tokens 160.0 after 124.0 (alarm 25 % above the round before); ") for line in found.alarms)


def test_a_share_that_hardly_moves_is_no_alarm_however_much_of_itself_that_is(tmp_path: Path) -> None:
    few, more, many = ({"response_repeats": repeats, "response_words": 1003} for repeats in (1, 9, 30))
    run = made_run(tmp_path, {"a-1": {"filtered": rows(1, **few)}, "a-2": {"filtered": rows(2, **more)}, "a-3": {"filtered": rows(3, **many)}})
    assert [finding(each, "response_repeats").verdict for each in health(run).rounds] == ["shown", "fine", "alarm"]


def test_answers_cut_are_held_against_the_limit_and_against_the_round_before(tmp_path: Path) -> None:
    texts = [[row(f"p{number}", finish="length" if number < cut else "stop") for number in range(1000)] for cut in (1, 16)]
    last = health(made_run(tmp_path, {f"a-{number}": {"responses": given} for number, given in enumerate(texts, 1)})).rounds[1]
    assert finding(last, "response_truncated").verdict == "fine"
    assert finding(last, "response_cut").verdict == "alarm"


def test_a_fall_of_diversity_is_an_alarm(tmp_path: Path) -> None:
    texts = [" ".join(f"w{number % kinds}" for number in range(400)) for kinds in (300, 150)]
    run = made_run(tmp_path, {f"a-{number}": {"responses": [row("a", response=text)]} for number, text in enumerate(texts, 1)})
    assert [finding(each, "response_distinct_2").verdict for each in health(run).rounds] == ["shown", "alarm"]


def alarms_of(tmp_path: Path, rounds: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str]]:
    """Where, and what, of rounds whose answered rows have these values; every round is of as many rows, each of its own prompts."""
    made = {}
    for place, given in rounds.items():
        counts = {"kept": 8, "unchanged": 2, **{name: count for name, count in given.items() if name in ("kept", "unchanged")}}
        values = {name: value for name, value in given.items() if name not in counts}
        made[place] = {
            "filtered": [
                row(
                    f"{place} {number}",
                    **{
                        "role": "improve",
                        "refine_template": None,
                        "dropped_by": None if number < counts["kept"] else "ppl",
                        "failed_rules": [] if number < counts["kept"] else ["ppl"],
                        **({"improved": f"response {place} {number}"} if number < counts["unchanged"] else {}),
                        **values,
                    },
                )
                for number in range(10)
            ]
        }
    return [(each.place, finding.measure.failure) for each in health(made_run(tmp_path, made)).rounds for finding in each.alarms]


def test_answers_that_degrade_over_rounds_fire_and_steady_ones_are_quiet(tmp_path: Path) -> None:
    steady = {f"p-{number}": {"response_repeats": 4, "response_tokens": 100 + number} for number in (1, 2, 3)}
    assert alarms_of(tmp_path / "quiet", steady) == []
    worse = {f"p-{number}": {"response_repeats": 4 * number**2, "response_tokens": 100 + 10 * number} for number in (1, 2, 3)}
    assert alarms_of(tmp_path / "fires", worse) == [("p-2", "degeneration"), ("p-3", "degeneration")]


def test_a_filter_that_becomes_too_tight_fires_before_and_at_its_floor_and_a_steady_one_is_quiet(tmp_path: Path) -> None:
    assert alarms_of(tmp_path / "quiet", {"p-1": {"kept": 8}, "p-2": {"kept": 6}, "p-3": {"kept": 5}}) == []
    fires = {"p-1": {"kept": 9}, "p-2": {"kept": 4}, "p-3": {"kept": 2}}
    assert alarms_of(tmp_path / "fires", fires) == [("p-2", "filter too tight"), ("p-3", "filter too tight")]


def test_a_loop_that_is_stuck_fires_and_one_that_still_rewrites_is_quiet(tmp_path: Path) -> None:
    assert alarms_of(tmp_path / "quiet", {"p-1": {"unchanged": 2}, "p-2": {"unchanged": 5}}) == []
    assert alarms_of(tmp_path / "fires", {"p-1": {"unchanged": 2}, "p-2": {"unchanged": 6}}) == [("p-2", "stuck")]


def guarded(tmp_path: Path, **measured: object) -> RoundHealth:
    """A round that was trained, with what the run measured around its training."""
    run = made_run(tmp_path, {"p-1": {"pairs": [pair("x", "y", "a", chosen_tokens=10)]}})
    made_model(run.folder / "p-1" / "model", {}, inputs=[run.rounds[0].datasets["pairs"]])
    fingerprint = open_run("run", tmp_path).rounds[0].model
    assert fingerprint is not None
    write_guard_record(run.folder / "p-1", GuardRecord.model_validate({"fingerprint": fingerprint.manifest.fingerprint, **measured}))
    return health(open_run("run", tmp_path)).rounds[0]


def test_what_a_run_measured_around_a_training_is_shown_with_its_alarm(tmp_path: Path) -> None:
    before, after = ({"answers": 10, "tokens": tokens, "grams": 50, "repeated_grams": 5, "cut": 0} for tokens in (100, 150))
    wins = {"compared": 4, "won": 3, "lost": 1}
    found = guarded(tmp_path, pair_gap=0.1, chosen_change=-0.3, reference_change=0.2, answers_before=before, answers_after=after, answer_wins=wins)
    told = {name: (finding(found, name).value, finding(found, name).verdict) for name in NUMBERS}
    assert told == {
        "pair_gap": (0.1, "fine"),
        "pair_win_rate": (None, "unmeasured"),
        "chosen_fall": (0.3, "alarm"),
        "reference_fall": (-0.2, "fine"),
        "answer_growth": (0.5, "alarm"),
        "repeats_rise": (0.0, "fine"),
        "win_rate": (0.75, "fine"),
    }


def test_what_was_measured_around_another_training_is_not_shown(tmp_path: Path) -> None:
    found = guarded(tmp_path, fingerprint="of another", chosen_change=-0.3)
    assert finding(found, "chosen_fall").why == "not measured around its training"


@pytest.mark.parametrize("measure", [each for each in MEASURES if each.bound], ids=lambda each: each.name)
def test_every_alarm_has_a_threshold_with_a_flag_and_tells_what_to_do(measure: Measure) -> None:
    assert measure.threshold in Thresholds.model_fields
    assert len(measure.advice) > 20


def test_every_threshold_is_that_of_a_measure() -> None:
    assert {each.threshold for each in MEASURES if each.bound} == set(Thresholds.model_fields)


@pytest.mark.parametrize("count", [0, 1])
def test_no_row_and_one_row_are_no_alarm_beyond_what_they_are(tmp_path: Path, count: int) -> None:
    found = health(made_run(tmp_path, {"a-1": {"filtered": rows(count)}}))
    assert found.alarms == ()
    assert finding(found.rounds[0], "kept").value == (1.0 if count else None)


def test_what_is_not_made_yet_is_told_from_what_the_phase_does_not_make(tmp_path: Path) -> None:
    planned(tmp_path / "run", ["b-1/responses", "b-1/pairs", "b-1/model", "a-1/responses"])
    run = made_run(tmp_path, {"a-1": {"responses": rows(1)}, "b-1": {"responses": rows(2)}})
    assert [each.place for each in run.rounds] == ["b-1", "a-1"]
    assert run.rounds[0].missing == ("pairs", "model")
    found = health(run)
    assert finding(of(found, "b-1"), "longer_chosen").why == "pairs not made yet"
    assert finding(of(found, "a-1"), "longer_chosen").why == "the phase makes no pairs"
    assert finding(of(found, "b-1"), "last_accuracy").why == "not trained yet"


def test_health_does_not_depend_on_parts(tmp_path: Path) -> None:
    given = [row(f"p{number}", response=f"{number} " * 40, response_tokens=number + 1) for number in range(50)]
    one, many = (made_run(tmp_path, {"a-1": {"filtered": given}}, name=f"run{size}", part_rows=size) for size in (1000, 7))
    assert health(one) == health(many)


def test_command_prints_a_table_and_exits_3_with_what_to_do(tmp_path: Path) -> None:
    made_run(tmp_path, {"a-1": {"filtered": [row("a"), *(row(f"{n}", dropped_by="ppl", failed_rules=["ppl"]) for n in range(9))]}})
    shown = CliRunner().invoke(app, ["health", "run", "--root", str(tmp_path)])
    assert shown.exit_code == 3
    assert re.search(r"^  rows kept +10\.0 %!$", shown.stdout, re.MULTILINE)
    assert shown.stderr.startswith("a-1: rows kept 10.0 % (alarm below 30.0 %); see which rule drops most")
    fine = CliRunner().invoke(app, ["health", "run", "--root", str(tmp_path), "--min_kept", "0.1"])
    assert (fine.exit_code, fine.stderr) == (0, "")


def test_command_gives_json_with_every_number_or_why_there_is_none(tmp_path: Path) -> None:
    made_run(tmp_path, {"a-1": {"filtered": rows(3)}})
    told = json.loads(CliRunner().invoke(app, ["health", "run", "--root", str(tmp_path), "--json"]).stdout)
    numbers = told["rounds"][0]["numbers"]
    assert list(numbers) == [each.name for each in MEASURES]
    assert numbers["kept"] == {"value": 1.0, "unit": "share", "before": None, "bound": "below", "limit": 0.3, "verdict": "fine", "why": None}
    assert all((each["value"] is None) == bool(each["why"]) for each in numbers.values())


def test_command_refuses_a_threshold_that_can_not_be_meant(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["health", "run", "--root", str(tmp_path), "--max_truncated", "2"])
    assert shown.exit_code == 2
    assert "--max-truncated: Input should be less than or equal to 1 (got 2.0)" in shown.stderr


def test_many_rounds_fit_a_terminal(tmp_path: Path) -> None:
    made_run(tmp_path, {f"a-{number}": {"responses": rows(number)} for number in range(1, 13)})
    shown = CliRunner().invoke(app, ["health", "run", "--root", str(tmp_path)], env={"COLUMNS": "80"})
    table = shown.stdout.partition("not measured")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert all(re.search(rf" a-{number}\b", table) for number in range(1, 13))


def test_a_folder_without_rounds_and_a_broken_part_are_told(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(DatasetError, match="holds no round of a run; make one with: sgpo run RECIPE"):
        open_run("run", tmp_path)
    made_dataset(tmp_path / "pairs", "pairs", [])
    with pytest.raises(DatasetError, match="pairs: is no run, but what one command made; look at it with: sgpo inspect"):
        open_run("pairs", tmp_path)
    run = made_run(tmp_path, {"a-1": {"filtered": rows(1)}}, name="other")
    run.rounds[0].datasets["filtered"].paths[0].write_bytes(b"PAR1 not at all")
    with pytest.raises(DatasetError, match=r"sgpo check .* tells what is broken"):
        health(run)
