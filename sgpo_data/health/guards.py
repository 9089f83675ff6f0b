"""Guards of a run: what its pairs look like before a training, and what the training did to the policy; an alarm stops the run."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from sgpo_data.engines import Sampling
from sgpo_data.errors import GateError, SgpoError
from sgpo_data.execution import Execution
from sgpo_data.health.options import Guards
from sgpo_data.health.preference import AnsweredTwice, counted_wins, judged_wins, rewarded_wins
from sgpo_data.health.probe import AnswerNll, Conversation, HeldOutPrompt, Probe, sampled_sums
from sgpo_data.health.signs import Sign, signs_after, signs_before
from sgpo_data.loop.plan import Step
from sgpo_data.recipe.recipe import FIRST, PREVIOUS, RECIPE, Phase, Recipe
from sgpo_data.references.model import find_model, recorded_model
from sgpo_data.references.run import VERDICTS
from sgpo_data.running.engines import Engines
from sgpo_data.sources.prompts import read_prompts
from sgpo_data.store.dataset import open_dataset
from sgpo_data.store.guard import GuardRecord, Wins, guard_record, write_guard_record
from sgpo_data.store.manifest import MANIFEST
from sgpo_data.training.job import TrainJob

log = logging.getLogger(__name__)

ROWS = 200
"""Pairs, and held-out prompts, that are scored: those whose prompt ids, which are digests, come first."""
FEWEST_PAIRS = 20
"""Of fewer, the mean gap says little: a pair or two decide it."""
ANSWERS = 100
"""Held-out prompts that are answered."""


@dataclass(frozen=True)
class TrainingGuard:
    """Measures around every training of a run, and stops it at an alarm.

    A measure is taken once and kept beside the model, so that the same command stops again at the same place.
    """

    recipe: Recipe
    execution: Execution
    guards: Guards
    keep_going: bool = False

    def before(self, step: Step, engines: Engines) -> None:
        """Judges the pairs of a dpo step by the policy that they are to train. Raises GateError at an alarm."""
        job = step.job.training
        if job is None or not job.train.needs.compares:
            return
        record = _record(step)
        if record.pair_gap is None:
            record = record.model_copy(update={"pair_gap": _pair_gap(job, self._probe(step, engines)), "pair_wins": self._pair_wins(step)})
            write_guard_record(step.link.parent, record)
        self._tell(step, signs_before(record, self.guards), "nothing was trained")

    def after(self, step: Step, engines: Engines) -> None:
        """Holds a trained policy against the model it started from. Raises GateError at an alarm."""
        job = step.job.training
        if job is None:
            return
        record, prompts = _record(step), _held_out(self.recipe, self.execution)
        compares = job.train.needs.compares
        if (compares and record.chosen_change is None) or (prompts and record.answers_after is None):
            record = self._measured(job, step, prompts, engines)
            write_guard_record(step.link.parent, record)
        self._tell(step, signs_after(record, self.guards, compares=compares), self._way_back(step))

    def _measured(self, job: TrainJob, step: Step, prompts: Sequence[HeldOutPrompt], engines: Engines) -> GuardRecord:
        pairs = _pairs(job)[0] if job.train.needs.compares else []
        references = [(each.messages, (each.reference,)) for each in prompts if each.reference]
        rows: list[Conversation] = [*((prompt, answers[:1]) for prompt, answers in pairs), *references]
        asked, probe = prompts[:ANSWERS], self._probe(step, engines)
        before, answers = probe.likelihoods(job.start, rows), probe.answers(job.start, asked)
        trained = find_model(str(step.folder))
        after, answers_after = probe.likelihoods(trained, rows), probe.answers(trained, asked)
        return _record(step).model_copy(
            update={
                "chosen_change": _change(before[: len(pairs)], after[: len(pairs)]),
                "reference_change": _change(before[len(pairs) :], after[len(pairs) :]),
                "answers_before": sampled_sums(answers.values()) if asked else None,
                "answers_after": sampled_sums(answers_after.values()) if asked else None,
                "answer_wins": self._answer_wins(step, AnsweredTwice(asked, answers, answers_after), engines),
            }
        )

    def _probe(self, step: Step, engines: Engines) -> Probe:
        """Samples as the phase does, or else as the first one that samples."""
        phases = [self._phase(step), *self.recipe.phases]
        return Probe(engines, next((phase.seed.sampling for phase in phases if phase.seed is not None), Sampling()))

    def _phase(self, step: Step) -> Phase:
        return next(phase for phase in self.recipe.phases if phase.name == step.phase)

    def _answer_wins(self, step: Step, answered: AnsweredTwice, engines: Engines) -> Wins | None:
        """Of the answers after the training, by what says in the phase which answer is better."""
        phase, verdicts = self._phase(step), step.link.parent / VERDICTS
        if phase.reward_model is not None:
            return rewarded_wins(find_model(self.recipe.located(phase.reward_model)), answered, engines)
        if not (verdicts / MANIFEST).is_file():
            return None
        judge = recorded_model(open_dataset(verdicts).manifest.identity.models["judge"], flag="judge")
        return judged_wins(phase.verdicts, judge, answered, self.execution, engines)

    def _pair_wins(self, step: Step) -> Wins | None:
        """Of the rows that this round keeps, by their rewards."""
        if self._phase(step).reward_model is None and self._phase(step).judge is None:
            return None
        rewards = ("response_reward", "improved_reward")
        filtered = open_dataset(step.link.parent / "filtered").scan()
        return counted_wins(filtered.filter(pl.col("dropped_by").is_null()).select(rewards).collect().iter_rows())

    def _way_back(self, step: Step) -> str:
        """How to go on from the model that this training started from."""
        phase = self._phase(step)
        if step.round > 1 and phase.start_from == PREVIOUS:
            rounds = step.round - 1
            return f"or go on from the model before it, {step.phase}-{rounds}, with rounds = {rounds} in phase {step.phase}"
        start = phase.start_from
        if start in (PREVIOUS, FIRST):
            trained = [each.name for each in self.recipe.phases if each.train is not None]
            position = trained.index(step.phase)
            start = trained[position - 1] if position else RECIPE
        return f"or go on from the model before it, with start_from = {start!r} in the phase that follows"

    def _tell(self, step: Step, signs: Iterable[Sign], turn: str) -> None:
        """Logs every sign; `turn` ends the line of an alarm."""
        place, signs = f"{step.phase}-{step.round}", list(signs)
        for sign in signs:
            log.info("%s: %s", place, sign.number)
        alarms = [f"{place}: {sign.alarm}; {turn}" for sign in signs if sign.alarm]
        if alarms and not self.keep_going:
            raise GateError(*(f"{alarm}; or go on all the same with --keep-going" for alarm in alarms))
        for alarm in alarms:
            log.warning("%s", alarm)


def _record(step: Step) -> GuardRecord:
    """What was measured of this training before."""
    record = guard_record(step.link.parent)
    fingerprint = step.job.identity.fingerprint
    return record if record is not None and record.fingerprint == fingerprint else GuardRecord(fingerprint=fingerprint)


def _pair_gap(job: TrainJob, probe: Probe) -> float | None:
    rows, edits = _pairs(job)
    if len(rows) < FEWEST_PAIRS:
        log.info("%d pairs are too few to be judged before they are trained on; it takes %d", len(rows), FEWEST_PAIRS)
        return None
    steps = [chosen[0] - rejected[0] for chosen, rejected in probe.likelihoods(job.start, rows)]
    return sum(steps) / sum(edits) if sum(edits) else None


def _change(before: Sequence[tuple[AnswerNll, ...]], after: Sequence[tuple[AnswerNll, ...]]) -> float | None:
    """Change of the log-likelihood of the first answers, in nats per token."""
    both = [(then[0][0] - now[0][0], then[0][1]) for then, now in zip(before, after, strict=True)]
    tokens = sum(count for _, count in both)
    return sum(change for change, _ in both) / tokens if tokens else None


def _pairs(job: TrainJob) -> tuple[list[Conversation], list[int]]:
    """Some of the pairs, and the words that differ in each."""
    rows: list[Conversation] = []
    edits: list[int] = []
    for given in job.inputs:
        columns = ("prompt_id", "prompt", "chosen", "rejected", "edited_words")
        drawn = open_dataset(given.folder).scan().select(columns).sort("prompt_id").head(ROWS // len(job.inputs)).collect()
        for _, prompt, chosen, rejected, edited in drawn.iter_rows():
            rows.append((prompt, (chosen[0]["content"], rejected[0]["content"])))
            edits.append(edited or len(set(chosen[0]["content"].split()) ^ set(rejected[0]["content"].split())))
    return rows, edits


def _held_out(recipe: Recipe, execution: Execution) -> list[HeldOutPrompt]:
    """Held-out prompts of the first source that holds some out; none if no source does."""
    for phase in recipe.phases:
        source = phase.source
        if source is not None and source.held_out:
            options = source.options(1, None).model_copy(update={"take": "held_out", "offset": 0, "limit": ROWS})
            try:
                rows = read_prompts(recipe.located(source.path), options, execution).rows()
            except SgpoError as error:
                log.warning("no held-out prompts to hold a training against: %s", error)
                return []
            return [HeldOutPrompt(row["prompt_id"], row["messages"], row["reference"]) for row in rows if row["sample"] == 0]
    return []
