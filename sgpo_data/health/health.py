"""Whether a run goes well: the numbers of every round against their thresholds, and what to do where one is an alarm."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sgpo_data.health.measures import MEASURES, Measure, Thresholds
from sgpo_data.health.numbers import (
    FEWEST_REWARDED,
    FEWEST_STEPS,
    FEWEST_WORDS,
    Numbers,
    answer_words,
    few_steps,
    reference_nll_rise,
    row_numbers,
    trained_on,
    training_numbers,
)
from sgpo_data.loop.rounds import Round, Run
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.guard import NUMBERS, guard_record
from sgpo_data.text.measures import Words, distinct_2

Verdict = Literal["fine", "alarm", "shown", "unmeasured"]
"""shown: nothing to hold it against, be it for want of a threshold or of a like round before."""
NOISE = {"share": 0.01, "tokens": 1.0, "ppl": 0.0, "nats": 0.0}
"""Least difference from the round before that counts as one, whatever share of it that is."""


@dataclass(frozen=True)
class Finding:
    """A number of a round, and what is to be thought of it."""

    measure: Measure
    value: float | None
    before: float | None
    """Of the like round before, for a number that is held against it."""
    limit: float | None
    """Of its threshold; None if no alarm hangs on it."""
    verdict: Verdict
    why: str | None
    """Why it is not measured."""


@dataclass(frozen=True)
class RoundHealth:
    """The findings of a round, one per measure, in their order."""

    place: str
    like: str | None
    """The round before that answers the same way, None for the first of its kind."""
    rows: int
    """Prompts and samples answered."""
    dropped: Mapping[str, int]
    """Rows by the first rule that drops them, `kept` among them; empty before filtering."""
    findings: tuple[Finding, ...]

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """Those that are alarms."""
        return tuple(each for each in self.findings if each.verdict == "alarm")


@dataclass(frozen=True)
class Health:
    """The health of a run."""

    rounds: tuple[RoundHealth, ...]
    words: int | None
    """Words of each round over which distinct-2 is taken, the same for all; None if no round has enough."""

    @property
    def alarms(self) -> tuple[str, ...]:
        """One line for each alarm: where, the number found, what to do."""
        return tuple(f"{each.place}: {format_finding(finding)}; {finding.measure.advice}" for each in self.rounds for finding in each.alarms)


def health(run: Run, thresholds: Thresholds | None = None) -> Health:
    """The health of what a run has made so far.

    A number of growth is held against the round before that has the same role: a rewrite with the reference in sight is no measure for one without.
    Raises DatasetError if something that was made cannot be read.
    """
    limits = thresholds or Thresholds()
    numbers = _measured(run)
    texts = {(made.place, column): some for made in run.rounds for column in ("response", "improved") if (some := _words(made, column))}
    room = min((sum(map(len, each)) for each in texts.values()), default=None)
    for (place, column), each in texts.items():
        assert room is not None
        numbers[place][f"{column}_distinct_2"] = distinct_2(each, room) or 0.0
    found, last = list[RoundHealth](), dict[str | None, str]()
    for made in run.rounds:
        role = _role(made)
        like = last.get(role) if made.answers is not None else None
        findings = tuple(_finding(measure, made, numbers[made.place], numbers.get(like or "", {}), limits) for measure in MEASURES)
        outcomes = made.datasets["filtered"].manifest.outcomes if "filtered" in made.datasets else {}
        found.append(RoundHealth(made.place, like, made.answers.manifest.rows if made.answers else 0, outcomes, findings))
        if made.answers is not None:
            last[role] = made.place
    return Health(tuple(found), room)


def format_finding(finding: Finding) -> str:
    """A measured number with what it is held against, as a clause."""
    measure = finding.measure
    number = f"{measure.label} {format_value(finding.value, measure.unit)}"
    if finding.limit is None or measure.bound is None:
        return number
    if measure.bound in ("above", "below"):
        return f"{number} (alarm {measure.bound} {format_value(finding.limit, measure.unit)})"
    if finding.before is None:
        return f"{number} (nothing to compare with)"
    way = "above" if measure.bound == "growth" else "below"
    return f"{number} after {format_value(finding.before, measure.unit)} (alarm {100 * finding.limit:.0f} % {way} the round before)"


def format_value(value: float | None, unit: str) -> str:
    """The number in its unit, as people read it."""
    if value is None:
        return ""
    return {"share": f"{100 * value:.1f} %", "tokens": f"{value:.1f}", "ppl": f"{value:.2f}", "nats": f"{value:+.3f}"}[unit]


def _measured(run: Run) -> dict[str, Numbers]:
    pairs = {each.datasets["pairs"].manifest.fingerprint: each.datasets["pairs"] for each in run.rounds if "pairs" in each.datasets}
    found: dict[str, Numbers] = {}
    scored: list[Dataset] = []
    for made in run.rounds:
        numbers = row_numbers(made)
        if made.model is not None and _objective(made) == "dpo":
            numbers |= training_numbers(made.model, trained_on(made.model, pairs))
        if made.answers is not None and made.has("scored"):
            rise = reference_nll_rise(scored, made.answers)
            numbers |= {} if rise is None else {"reference_nll_rise": rise}
            scored.append(made.answers)
        numbers |= _guard_numbers(run, made)
        found[made.place] = numbers
    return found


def _guard_numbers(run: Run, made: Round) -> Numbers:
    """What the run measured around this training; nothing of another that the recipe asked for before."""
    record = guard_record(run.folder / made.place)
    if record is None or (made.model is not None and made.model.manifest.fingerprint != record.fingerprint):
        return {}
    numbers = {name: getattr(record, name) for name in NUMBERS}
    if _objective(made) == "sft":
        # The length of an answer is what sft teaches.
        del numbers["answer_growth"]
    return {name: value for name, value in numbers.items() if value is not None}


def _words(made: Round, column: str) -> Words:
    """Words of the answers of a round, none if they are too few to tell anything."""
    if made.answers is None or (column == "improved" and not made.has("improved")):
        return []
    found = answer_words(made.answers, column)
    return found if sum(map(len, found)) >= FEWEST_WORDS else []


def _role(made: Round) -> str | None:
    """What the rewrites of a round were made with; a round that has none is like another that has none."""
    dataset = made.answers
    if dataset is None or not made.has("improved"):
        return None
    first = dataset.scan().select("role").head(1).collect()
    return None if first.is_empty() else str(first.item())


def _finding(measure: Measure, made: Round, numbers: Numbers, before: Numbers, limits: Thresholds) -> Finding:
    value = numbers.get(measure.name)
    limit = float(getattr(limits, measure.threshold)) if measure.bound is not None else None
    compared = before.get(measure.name) if measure.bound in ("growth", "fall") else None
    if value is None:
        return Finding(measure, None, compared, limit, "unmeasured", _why(measure, made))
    return Finding(measure, value, compared, limit, _verdict(measure, value, compared, limit), None)


def _verdict(measure: Measure, value: float, before: float | None, limit: float | None) -> Verdict:
    if limit is None or (measure.bound in ("growth", "fall") and before is None):
        return "shown"
    if measure.bound in ("above", "below"):
        return "alarm" if (value > limit if measure.bound == "above" else value < limit) else "fine"
    assert before is not None
    step = value - before if measure.bound == "growth" else before - value
    return "alarm" if step > limit * before and step > NOISE[measure.unit] else "fine"


def _objective(made: Round) -> str | None:
    fields = made.model.manifest.identity.fields if made.model else None
    objective = fields.get("objective") if isinstance(fields, dict) else None
    return objective if isinstance(objective, str) else None


def _why(measure: Measure, made: Round) -> str:
    if measure.needs == "rescored":
        return "no other model has scored references of this round before"
    if measure.needs in ("dpo", "guard"):
        if made.model is None:
            return "not trained yet" if "model" in made.missing else "nothing is trained"
        return _why_not_logged(measure, made) if measure.needs == "dpo" else "not measured around its training"
    if made.has(measure.needs):
        if measure.name == "preferred":
            return f"no reward model and no judge in its phase, or fewer than {FEWEST_REWARDED} rewrites that they compare"
        few = measure.name.endswith("_distinct_2")
        return f"fewer than {FEWEST_WORDS} words" if few else "no row has what it takes"
    return f"{measure.needs} not made yet" if measure.needs in made.missing else f"the phase makes no {measure.needs}"


def _why_not_logged(measure: Measure, made: Round) -> str:
    objective = _objective(made)
    if objective != "dpo":
        return f"{objective} has none"
    assert made.model is not None
    if (steps := few_steps(made.model)) is not None:
        return f"too few steps: {steps}, and fewer than {FEWEST_STEPS} tell nothing"
    other = {"early_accuracy": "nothing logged in the second quarter of the first epoch", "chosen_drift": "not logged, or the pairs have no token counts"}
    return other.get(measure.name, "not logged")
