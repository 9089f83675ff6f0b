"""What goes wrong in such loops: the number that shows each failure, when it is an alarm, and what to do."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from sgpo_data.health.options import Guards

Needs = Literal["responses", "improved", "scored", "filtered", "pairs", "dpo", "rescored", "guard"]
"""What has to be there for a number to be measured: a table, curves of dpo, references scored by two models, what a run measured around its training."""
Bound = Literal["above", "below", "growth", "fall"]
"""An alarm when the value is above or below the limit, or by more than this share above or below that of the like round before."""


class Thresholds(Guards):
    """When a number is an alarm: those of a round beside those that stop a run."""

    max_token_growth: float = Field(0.25, gt=0, description="Growth of mean or p95 tokens over the like round before.")
    max_longer_chosen: float = Field(0.70, ge=0, le=1, description="Share of pairs whose chosen answer is the longer one.")
    max_truncated: float = Field(0.02, ge=0, le=1, description="Share of answers cut at the limit.")
    max_truncated_growth: float = Field(0.5, gt=0, description="Growth of the share of answers cut at the limit over the like round before.")
    max_repeats_growth: float = Field(0.5, gt=0, description="Growth of repeated 4-grams over the like round before.")
    max_distinct_2_fall: float = Field(0.2, ge=0, le=1, description="Fall of distinct word pairs below the like round before.")
    max_equal_growth: float = Field(0.5, gt=0, description="Growth of the share of equal answers over the like round before.")
    min_policy_ppl: float = Field(1.05, ge=1, description="Perplexity of the responses under the policy that sampled them.")
    min_chosen_drift: float = Field(-0.1, le=0, description="Change of the log-likelihood of chosen in training, in nats per token.")
    max_early_accuracy: float = Field(0.95, ge=0, le=1, description="rewards/accuracies in the second quarter of the first epoch.")
    min_last_accuracy: float = Field(0.55, ge=0, le=1, description="rewards/accuracies over the last tenth of the steps.")
    min_edit: float = Field(0.05, ge=0, le=1, description="Median share of words that the rewrite changes.")
    min_preferred: float = Field(0.55, ge=0, le=1, description="Share of rewrites that a reward model, a judge or people prefer to the response.")
    max_unchanged: float = Field(0.5, ge=0, le=1, description="Share of rewrites that are the response itself.")
    max_reference_nll_rise: float = Field(0.05, gt=0, description="Rise of the nll of references under a later scorer, in nats per token.")
    min_kept: float = Field(0.3, ge=0, le=1, description="Share of rows that are kept.")
    max_kept_fall: float = Field(0.5, ge=0, le=1, description="Fall of the share of rows that are kept below the like round before.")


@dataclass(frozen=True)
class Measure:
    """A number of a round."""

    name: str
    """As in JSON."""
    failure: str
    """What it shows."""
    label: str
    unit: Literal["share", "tokens", "ppl", "nats"]
    needs: Needs
    bound: Bound | None = None
    """None: it is shown, and no alarm hangs on it."""
    threshold: str = ""
    """Field of Thresholds."""
    advice: str = ""


_LENGTH = "length explosion"
_DEGENERATION = "degeneration"
_DIVERSITY = "diversity collapse"
_SIGNAL = "no signal"
_FILTER = "filter too tight"
_GUARD = "guards of the training"
_OPTIMISATION = "over-optimisation"
_LONGER = "set gates.max_length_ratio of filter near 1, and look at whether the rewrites say more or only take longer"
_CUT = "raise sampling.max_tokens, or filter out what is cut (gate finished) and look at why answers do not end"
_LOOPS = "lower gates.max_repetition of filter, lower the learning rate, or go back to the model of the round before"
_WORSE = "look at the pairs with sgpo inspect, tighten gates and ppl of filter, or train the improver on more examples"
_HARM = "lower the learning rate, train fewer epochs, or go on from the model before it: start_from names it in the phase that follows"
_TIGHT = "see which rule drops most, and loosen that one; or mend what it finds in the rewrites"
_SAME = "lower the learning rate or raise beta, take fewer rounds, or sample at a higher temperature"

# arXiv 2507.20181 names none of these; they are what goes wrong in loops of this kind.
MEASURES = (
    Measure("response_tokens_mean", _LENGTH, "response, mean tokens", "tokens", "responses", "growth", "max_token_growth", _LONGER),
    Measure("response_tokens_p95", _LENGTH, "response, p95 tokens", "tokens", "responses", "growth", "max_token_growth", _LONGER),
    Measure("improved_tokens_mean", _LENGTH, "improved, mean tokens", "tokens", "scored", "growth", "max_token_growth", _LONGER),
    Measure("improved_tokens_p95", _LENGTH, "improved, p95 tokens", "tokens", "scored", "growth", "max_token_growth", _LONGER),
    Measure("longer_chosen", _LENGTH, "pairs whose chosen is longer", "share", "pairs", "above", "max_longer_chosen", _LONGER),
    Measure("response_truncated", _LENGTH, "responses cut at the limit", "share", "responses", "above", "max_truncated", _CUT),
    Measure("improved_truncated", _LENGTH, "improved cut at the limit", "share", "improved", "above", "max_truncated", _CUT),
    Measure("response_repeats", _DEGENERATION, "response, repeated 4-grams", "share", "scored", "growth", "max_repeats_growth", _LOOPS),
    Measure("improved_repeats", _DEGENERATION, "improved, repeated 4-grams", "share", "scored", "growth", "max_repeats_growth", _LOOPS),
    Measure("response_cut", _DEGENERATION, "responses cut, round by round", "share", "responses", "growth", "max_truncated_growth", _CUT),
    Measure("improved_cut", _DEGENERATION, "improved cut, round by round", "share", "improved", "growth", "max_truncated_growth", _CUT),
    Measure("response_distinct_2", _DIVERSITY, "response, distinct word pairs", "share", "responses", "fall", "max_distinct_2_fall", _SAME),
    Measure("improved_distinct_2", _DIVERSITY, "improved, distinct word pairs", "share", "improved", "fall", "max_distinct_2_fall", _SAME),
    Measure("equal_responses", _DIVERSITY, "responses equal to another", "share", "responses", "growth", "max_equal_growth", _SAME),
    Measure("policy_ppl", _DIVERSITY, "response, perplexity under its policy", "ppl", "responses", "below", "min_policy_ppl", _SAME),
    Measure(
        "chosen_drift", "likelihood displacement", "chosen, change of log-likelihood per token", "nats", "dpo", "below", "min_chosen_drift",
        "give sft_weight, raise gates.min_edit so that the two answers differ more, or lower the learning rate",
    ),
    Measure(
        "early_accuracy", _OPTIMISATION, "rewards/accuracies, early", "share", "dpo", "above", "max_early_accuracy",
        "the answers are told apart too easily, by length or style: look at pairs with sgpo inspect, raise beta, or lower the learning rate",
    ),
    Measure("kl", _OPTIMISATION, "KL to the scorer, nats per token", "nats", "scored"),
    Measure(
        "last_accuracy", _SIGNAL, "rewards/accuracies, at the end", "share", "dpo", "below", "min_last_accuracy",
        "raise the learning rate or the number of pairs, or gates.min_edit so that the two answers differ more",
    ),
    Measure(
        "edit", _SIGNAL, "words changed by the rewrite, median", "share", "scored", "below", "min_edit",
        "the rewrites hardly change anything: let refine see better references, change the template, or raise the temperature",
    ),
    Measure(
        "preferred", "improver only paraphrases", "rewrites preferred to the response", "share", "scored", "below", "min_preferred",
        "the rewrites are other words and no better: let refine see better references, train the improver on more examples, or keep by ppl.strategy = margin",
    ),
    Measure(
        "unchanged", "stuck", "rewrites equal to the response", "share", "improved", "above", "max_unchanged",
        "the improver has nothing to add: train it longer or on more examples, or stop here",
    ),
    Measure(
        "reference_nll_rise", "improver training spoils the policy", "references, rise of nll per token", "nats", "rescored", "above",
        "max_reference_nll_rise", "raise replay of pair, lower the learning rate, or train fewer epochs",
    ),
    Measure("kept", _FILTER, "rows kept", "share", "filtered", "below", "min_kept", _TIGHT),
    Measure("kept_since", _FILTER, "rows kept, round by round", "share", "filtered", "fall", "max_kept_fall", _TIGHT),
    Measure("pair_gap", _GUARD, "chosen less likely, nats per changed word", "nats", "guard", "above", "max_pair_gap", _WORSE),
    Measure("pair_win_rate", _GUARD, "pairs whose chosen has the greater reward", "share", "guard", "below", "min_pair_win_rate", _WORSE),
    Measure("chosen_fall", _GUARD, "chosen, fall of log-likelihood per token", "nats", "guard", "above", "max_chosen_fall", _HARM),
    Measure("reference_fall", _GUARD, "references held out, the same", "nats", "guard", "above", "max_reference_fall", _HARM),
    Measure("answer_growth", _GUARD, "answers held out, growth of mean tokens", "share", "guard", "above", "max_answer_growth", _LONGER),
    Measure("repeats_rise", _GUARD, "answers held out, more repeated 4-grams", "share", "guard", "above", "max_repeats_rise", _LOOPS),
    Measure("win_rate", _GUARD, "answers held out, of greater reward", "share", "guard", "below", "min_win_rate", _HARM),
)  # fmt: skip
"""In the order of a table: the answers first, then the training, then the filter, then what a run measured around its training."""
