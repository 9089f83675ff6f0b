"""What the numbers of a guard say: a line for each that was measured, and an alarm where it is past its bound."""

from collections.abc import Iterator
from dataclasses import dataclass

from sgpo_data.health.options import Guards
from sgpo_data.store.guard import GuardRecord


@dataclass(frozen=True)
class Sign:
    """A number of a guard in words."""

    number: str
    alarm: str | None
    """What is wrong and what to change; None if it is within its bound."""


def signs_before(record: GuardRecord, guards: Guards) -> Iterator[Sign]:
    """Of the pairs, by the model that is to be trained on them."""
    if (gap := record.pair_gap) is not None:
        alarm = (
            f"the policy finds chosen {gap:.2f} nats per differing word less likely than rejected (alarm above {guards.max_pair_gap:g}), as pairs are that "
            "are often no better: look at them with sgpo inspect, tighten gates and ppl of filter, or train the improver on more examples"
        )
        yield Sign(f"chosen against rejected before training: {gap:+.3f} nats per differing word", alarm if gap > guards.max_pair_gap else None)
    if (rate := record.pair_win_rate) is not None:
        alarm = (
            f"the reward model or judge prefers chosen in {rate:.0%} of the pairs (alarm below {guards.min_pair_win_rate:.0%}): keep pairs by ppl.strategy = "
            "margin of filter, or train the improver on more examples"
        )
        yield Sign(f"pairs whose chosen the reward model or judge prefers: {rate:.0%}", alarm if rate < guards.min_pair_win_rate else None)


def signs_after(record: GuardRecord, guards: Guards, *, compares: bool) -> Iterator[Sign]:
    """Of the trained model against the one that it started from; `compares` where it was trained on pairs.

    SFT teaches the length of its examples, so that a longer answer is no sign there.
    """
    falls = (
        ("chosen", record.chosen_fall, guards.max_chosen_fall, "raise sft_weight, lower the learning rate, or raise gates.min_edit"),
        ("held-out references", record.reference_fall, guards.max_reference_fall, "lower the learning rate, train fewer epochs, or raise replay"),
    )
    for name, fall, most, advice in falls:
        if fall is not None:
            alarm = f"training made {name} {fall:.2f} nats per token less likely (alarm above {most:g}); {advice}"
            yield Sign(f"log-likelihood of {name} through training: {-fall:+.3f} nats per token", alarm if fall > most else None)
    if (growth := record.answer_growth) is not None:
        alarm = (
            f"answers to held-out prompts grew by {growth:.0%} (alarm above {guards.max_answer_growth:.0%}); set gates.max_length_ratio of filter near 1, "
            "or raise beta"
        )
        yield Sign(f"length of answers to held-out prompts: {growth:+.0%}", alarm if compares and growth > guards.max_answer_growth else None)
    if (rise := record.repeats_rise) is not None:
        alarm = (
            f"the share of 4-grams that repeat in answers to held-out prompts rose by {rise:.2f} (alarm above {guards.max_repeats_rise:g}); lower the "
            "learning rate, train fewer epochs, or lower gates.max_repetition"
        )
        yield Sign(f"repeated 4-grams of answers to held-out prompts: {rise:+.3f}", alarm if rise > guards.max_repeats_rise else None)
    if (rate := record.win_rate) is not None:
        alarm = (
            f"the reward model or judge prefers the answers of the trained model to {rate:.0%} of held-out prompts (alarm below {guards.min_win_rate:.0%}); "
            "look at its pairs with sgpo inspect, or lower the learning rate"
        )
        yield Sign(f"held-out prompts where the reward model or judge prefers the trained model: {rate:.0%}", alarm if rate < guards.min_win_rate else None)
