"""What a run measured around a training, kept beside the model: once measured, the same command stops again at the same place."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sgpo_data.store.files import write_text

GUARD = "guard.json"


class SampledAnswers(BaseModel):
    """Sums over the answers that a model sampled to held-out prompts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answers: int
    tokens: int
    grams: int
    """Word 4-grams."""
    repeated_grams: int
    """Those that stood in the same answer before."""
    cut: int
    """Answers that did not end within the tokens they were given."""

    @property
    def mean_tokens(self) -> float | None:
        """None without an answer."""
        return self.tokens / self.answers if self.answers else None

    @property
    def repeats(self) -> float | None:
        """Share of 4-grams that repeat; None if no answer has four words."""
        return self.repeated_grams / self.grams if self.grams else None


class Wins(BaseModel):
    """How often a reward model or a judge prefers one answer to another."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    compared: int
    won: int
    lost: int

    @property
    def rate(self) -> float | None:
        """Share won, a tie counting half; None if nothing was compared."""
        return (self.won + (self.compared - self.won - self.lost) / 2) / self.compared if self.compared else None


class GuardRecord(BaseModel):
    """What was measured around one training; None is what was not, or not yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    """Of the training."""
    pair_gap: float | None = None
    """Nats per differing word by which the model that training starts from finds chosen less likely than rejected."""
    pair_wins: Wins | None = None
    """Of the rewrite over the response, in the pairs; where the phase names a reward model or a judge."""
    chosen_change: float | None = None
    """Change of the log-likelihood of chosen, in nats per token."""
    reference_change: float | None = None
    """The same of held-out references; None where the recipe holds out none."""
    answers_before: SampledAnswers | None = None
    answers_after: SampledAnswers | None = None
    answer_wins: Wins | None = None
    """Of the trained model over the one that it started from, prompt by prompt; where the phase names a reward model or a judge that can be asked."""

    @property
    def pair_win_rate(self) -> float | None:
        """Share of the pairs whose chosen has the greater reward."""
        return self.pair_wins.rate if self.pair_wins else None

    @property
    def chosen_fall(self) -> float | None:
        """Nats per token."""
        return None if self.chosen_change is None else -self.chosen_change

    @property
    def reference_fall(self) -> float | None:
        """Nats per token."""
        return None if self.reference_change is None else -self.reference_change

    @property
    def answer_growth(self) -> float | None:
        """Growth of the mean length of answers, as a share of the length before."""
        before, after = (each.mean_tokens if each else None for each in (self.answers_before, self.answers_after))
        return after / before - 1 if before and after is not None else None

    @property
    def repeats_rise(self) -> float | None:
        """Rise of the share of 4-grams that repeat."""
        before, after = (each.repeats if each else None for each in (self.answers_before, self.answers_after))
        return None if before is None or after is None else after - before

    @property
    def win_rate(self) -> float | None:
        """Share of the prompts to which the trained model gives the answer of greater reward."""
        return self.answer_wins.rate if self.answer_wins else None


NUMBERS = {
    "pair_gap": "Nats per differing word by which the policy finds chosen less likely than rejected, before training.",
    "pair_win_rate": "Share of the pairs whose chosen has the greater reward, a tie counting half.",
    "chosen_fall": "Fall of the log-likelihood of chosen through training, in nats per token.",
    "reference_fall": "Fall of the log-likelihood of held-out references through training, in nats per token.",
    "answer_growth": "Growth of the mean length of answers to held-out prompts, as a share of the length before.",
    "repeats_rise": "Rise of the share of 4-grams that repeat in answers to held-out prompts.",
    "win_rate": "Share of held-out prompts to which the trained model gives the answer of greater reward, a tie counting half.",
}
"""The numbers of a record that people read, each a property or field of it, with what it is."""


def guard_record(folder: Path) -> GuardRecord | None:
    """The record of this round's folder; None if nothing was measured, or by another version."""
    try:
        return GuardRecord.model_validate_json((folder / GUARD).read_bytes())
    except (OSError, ValidationError):
        return None


def write_guard_record(folder: Path, record: GuardRecord) -> None:
    """Replaces the record of this round's folder."""
    write_text(folder / GUARD, record.model_dump_json(indent=2) + "\n")
