"""Guards of a run: what its pairs look like before a training, and what the training did to the policy; an alarm stops the run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sgpo_data.engines import ScoreRequest
from sgpo_data.engines.loading import weights_loading
from sgpo_data.engines.opening import scorer_of
from sgpo_data.errors import GateError, SgpoError
from sgpo_data.execution import Execution
from sgpo_data.health.options import Guards
from sgpo_data.loop.plan import Step
from sgpo_data.recipe.recipe import RECIPE, Recipe
from sgpo_data.references.model import Model, find_model
from sgpo_data.rows import Message
from sgpo_data.running.engines import Engines
from sgpo_data.sources.prompts import read_prompts
from sgpo_data.store.dataset import open_dataset
from sgpo_data.store.files import write_text
from sgpo_data.training.job import TrainJob

log = logging.getLogger(__name__)

ROWS = 200
"""Pairs, and held-out references, that are scored: those whose prompt ids, which are digests, come first."""
FILE = "guard.json"

Conversation = tuple[list[Message], tuple[str, ...]]


class GuardRecord(BaseModel):
    """What was measured around one training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    """Of the training."""
    pair_gap: float | None = None
    """Nats per differing word, under the model that training starts from; None for a training without pairs."""
    chosen_change: float | None = None
    """Change of the log-likelihood of chosen, in nats per token."""
    reference_change: float | None = None
    """The same of held-out references; None where the recipe holds out none."""


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
        job = step.job
        if not (isinstance(job, TrainJob) and job.train.needs.compares):
            return
        record = _read(step)
        if record.pair_gap is None:
            record = record.model_copy(update={"pair_gap": _pair_gap(job, engines)})
            _write(step, record)
        gap, most = record.pair_gap, self.guards.max_pair_gap
        log.info("%s-%d: chosen against rejected before training: %+.3f nats per differing word", step.phase, step.round, gap)
        if gap is not None and gap > most:
            self._alarm(
                f"{step.phase}-{step.round}: the policy finds chosen {gap:.2f} nats per differing word less likely than rejected (alarm above {most:g}), as "
                "pairs are that are often no better: look at them with sgpo inspect, tighten gates and ppl of filter, or train the improver on more examples; "
                "nothing was trained"
            )

    def after(self, step: Step, engines: Engines) -> None:
        """Holds a trained policy against the model it started from. Raises GateError at an alarm."""
        job = step.job
        if not isinstance(job, TrainJob):
            return
        record = _read(step)
        references = _held_out(self.recipe, self.execution)
        if (record.chosen_change is None and job.train.needs.compares) or (record.reference_change is None and references):
            record = _changes(job, find_model(str(step.folder)), references, engines, record)
            _write(step, record)
        for name, change, most, why in (
            ("chosen", record.chosen_change, self.guards.max_chosen_fall, "raise sft_weight, lower the learning rate, or raise gates.min_edit"),
            ("held-out references", record.reference_change, self.guards.max_reference_fall, "lower the learning rate, train fewer epochs, or raise replay"),
        ):
            if change is None:
                continue
            log.info("%s-%d: log-likelihood of %s through training: %+.3f nats per token", step.phase, step.round, name, change)
            if change < -most:
                self._alarm(
                    f"{step.phase}-{step.round}: training made {name} {-change:.2f} nats per token less likely (alarm above {most:g}); {why}; or go on from "
                    f"the model before it, with start_from = {self._start(step)!r} in the phase that follows"
                )

    def _start(self, step: Step) -> str:
        """The word that names the model this training started from."""
        names = [phase.name for phase in self.recipe.phases if phase.train is not None]
        position = names.index(step.phase)
        return names[position - 1] if position else RECIPE

    def _alarm(self, message: str) -> None:
        if not self.keep_going:
            raise GateError(f"{message}; or go on all the same with --keep-going")
        log.warning("%s", message)


def _pair_gap(job: TrainJob, engines: Engines) -> float | None:
    rows, edits = _pairs(job)
    likelihoods = _nll(job.start, rows, engines)
    steps = [chosen[0] - rejected[0] for chosen, rejected in likelihoods]
    return sum(steps) / sum(edits) if sum(edits) else None


def _changes(job: TrainJob, trained: Model, references: Sequence[Conversation], engines: Engines, record: GuardRecord) -> GuardRecord:
    pairs = _pairs(job)[0] if job.train.needs.compares else []
    rows = [*[(prompt, answers[:1]) for prompt, answers in pairs], *references]
    before, after = _nll(job.start, rows, engines), _nll(trained, rows, engines)
    return record.model_copy(
        update={
            "chosen_change": _change(before[: len(pairs)], after[: len(pairs)]),
            "reference_change": _change(before[len(pairs) :], after[len(pairs) :]),
        }
    )


Likelihoods = Sequence[tuple[tuple[float, int], ...]]


def _change(before: Likelihoods, after: Likelihoods) -> float | None:
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


def _held_out(recipe: Recipe, execution: Execution) -> list[Conversation]:
    """References of held-out prompts of the first source that holds some out; none if no source does."""
    for phase in recipe.phases:
        source = phase.source
        if source is not None and source.held_out:
            options = source.options(1, None).model_copy(update={"take": "held_out", "offset": 0, "limit": ROWS})
            try:
                rows = read_prompts(recipe.located(source.path), options, execution).rows()
            except SgpoError as error:
                log.warning("no held-out references to hold a training against: %s", error)
                return []
            return [(row["messages"], (row["reference"],)) for row in rows if row["reference"]]
    return []


def _nll(model: Model, rows: Sequence[Conversation], engines: Engines) -> Likelihoods:
    """Nats and tokens of every answer; a row that does not fit the context is left out with all its answers."""
    scorer = scorer_of(engines.opened(weights_loading("transformers", "auto", None, model.config, work="score"), model))
    requests = (ScoreRequest((str(number), 0, ""), messages, answers) for number, (messages, answers) in enumerate(rows))
    found: Mapping[int, tuple[tuple[float, int], ...]] = {
        int(scored.key[0]): tuple((each.nll, each.tokens) for each in scored.likelihoods if each.nll is not None) for scored in scorer.score(requests)
    }
    return [found[number] if len(found[number]) == len(rows[number][1]) else ((0.0, 0),) * len(rows[number][1]) for number in range(len(rows))]


def _path(step: Step) -> Path:
    return step.link.parent / FILE


def _read(step: Step) -> GuardRecord:
    """What was measured of this training before."""
    empty = GuardRecord(fingerprint=step.job.identity.fingerprint)
    try:
        record = GuardRecord.model_validate_json(_path(step).read_bytes())
    except (OSError, ValidationError):
        return empty
    return record if record.fingerprint == empty.fingerprint else empty


def _write(step: Step, record: GuardRecord) -> None:
    write_text(_path(step), record.model_dump_json(indent=2) + "\n")
