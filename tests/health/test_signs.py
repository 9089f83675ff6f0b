"""Each number of a guard: past its bound it is an alarm that says what to change, within it a line and no more."""

from collections.abc import Mapping

import pytest

from sgpo_data.health.options import Guards
from sgpo_data.health.preference import counted_wins
from sgpo_data.health.probe import ModelAnswer, sampled_sums
from sgpo_data.health.signs import Sign, signs_after, signs_before
from sgpo_data.store.guard import GuardRecord, SampledAnswers, Wins

SHORT = SampledAnswers(answers=10, tokens=100, grams=70, repeated_grams=7, cut=0)


def sampled(*, tokens: int = 100, repeated_grams: int = 7) -> SampledAnswers:
    return SHORT.model_copy(update={"tokens": tokens, "repeated_grams": repeated_grams})


def signs(measured: Mapping[str, object], *, compares: bool = True) -> list[Sign]:
    record = GuardRecord.model_validate({"fingerprint": "f", **measured})
    return [*signs_before(record, Guards()), *signs_after(record, Guards(), compares=compares)]


CASES: list[tuple[dict[str, object], dict[str, object], str]] = [
    ({"pair_gap": 0.41}, {"pair_gap": 0.4}, "0.41 nats per differing word less likely than rejected (alarm above 0.4)"),
    ({"pair_wins": Wins(compared=10, won=4, lost=4)}, {"pair_wins": Wins(compared=10, won=5, lost=4)}, "prefers chosen in 50% of the pairs (alarm below 55%)"),
    ({"chosen_change": -0.11}, {"chosen_change": -0.1}, "training made chosen 0.11 nats per token less likely (alarm above 0.1); raise sft_weight"),
    ({"reference_change": -0.2}, {"reference_change": 0.2}, "training made held-out references 0.20 nats per token less likely"),
    (
        {"answers_before": SHORT, "answers_after": sampled(tokens=126)},
        {"answers_before": SHORT, "answers_after": sampled(tokens=125)},
        "answers to held-out prompts grew by 26% (alarm above 25%)",
    ),
    (
        {"answers_before": SHORT, "answers_after": sampled(repeated_grams=14)},
        {"answers_before": SHORT, "answers_after": sampled(repeated_grams=10)},
        "repeat in answers to held-out prompts rose by 0.10 (alarm above 0.05)",
    ),
    (
        {"answer_wins": Wins(compared=10, won=3, lost=6)},
        {"answer_wins": Wins(compared=10, won=3, lost=5)},
        "prefers the answers of the trained model to 35% of held-out prompts (alarm below 40%)",
    ),
]


@pytest.mark.parametrize(("past", "within", "words"), CASES)
def test_a_number_past_its_bound_is_an_alarm_and_one_within_is_not(past: dict[str, object], within: dict[str, object], words: str) -> None:
    alarms = [sign.alarm for sign in signs(past) if sign.alarm]
    assert len(alarms) == 1
    assert words in alarms[0]
    quiet = signs(within)
    assert quiet
    assert [sign.alarm for sign in quiet if sign.alarm] == []


def test_sft_may_make_answers_longer_and_not_make_them_repeat() -> None:
    longer, looping = ({"answers_before": SHORT, "answers_after": after} for after in (sampled(tokens=300), sampled(repeated_grams=70)))
    assert [sign.alarm for sign in signs(longer, compares=False) if sign.alarm] == []
    assert len([sign.alarm for sign in signs(looping, compares=False) if sign.alarm]) == 1


def test_what_was_not_measured_is_no_sign() -> None:
    assert signs({}) == []
    nothing = SampledAnswers(answers=0, tokens=0, grams=0, repeated_grams=0, cut=0)
    assert signs({"answers_before": nothing, "answers_after": SHORT, "answer_wins": Wins(compared=0, won=0, lost=0)}) == []


def test_sums_count_tokens_4_grams_and_cut_answers() -> None:
    answers = [ModelAnswer("a b c d a b c d", 9, cut=False), ModelAnswer("a b c", 4, cut=True), ModelAnswer("", 1, cut=False)]
    assert sampled_sums(answers) == SampledAnswers(answers=3, tokens=14, grams=5, repeated_grams=1, cut=1)


def test_a_tie_is_half_a_win_and_a_missing_reward_is_none() -> None:
    wins = counted_wins([(0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (None, 1.0), (0.5, 2.0)])
    assert wins == Wins(compared=4, won=2, lost=1)
    assert wins.rate == 0.625
