"""A model answers the questions of a set: each turn is a seed over the conversation so far, with the stream and the resume of any other."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from sgpo_data.evaluation.sets import Question, QuestionSet
from sgpo_data.execution import Execution
from sgpo_data.names import MadeName
from sgpo_data.references.model import Model
from sgpo_data.rows import Finish, Message, Row
from sgpo_data.running.engines import Engines
from sgpo_data.running.planning import planned
from sgpo_data.schema import schema
from sgpo_data.sources.source import prompt_id
from sgpo_data.stages.seed import Seed
from sgpo_data.store.at_once import write_all
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.input import input_of
from sgpo_data.store.manifest import Identity, InputRecord
from sgpo_data.store.resume import make
from sgpo_data.store.unfinished import StageSummary, Unfinished

log = logging.getLogger(__name__)

REVISION = 1
"""Raised when the same set begins to give other prompts."""
PART_ROWS = 131072


@dataclass(frozen=True)
class AnswerTurn:
    """What the model said in one turn."""

    text: str | None
    """None if there is no answer."""
    finish: Finish | None
    """None if it was not asked, since the turn before has no answer."""
    tokens: int | None


@dataclass(frozen=True)
class Answers:
    """The answers of one model to a set, question by question in its order."""

    questions: QuestionSet
    turns: tuple[tuple[AnswerTurn, ...], ...]
    """Of each question, turn by turn."""
    datasets: tuple[Dataset, ...]
    """The responses of each turn."""

    @property
    def identity(self) -> str:
        """Fingerprint of the last responses, which those before are in."""
        return self.datasets[-1].manifest.fingerprint

    @property
    def created(self) -> datetime:
        """When the last of them was there."""
        return self.datasets[-1].manifest.created

    @property
    def missing(self) -> dict[str, int]:
        """Questions without a whole answer, by the reason."""
        reasons = [next((turn.finish for turn in turns if turn.finish != "stop"), None) for turns in self.turns]
        return dict(Counter(reason for reason in reasons if reason is not None))


def answers(questions: QuestionSet, seed: Seed, model: Model, execution: Execution, *, engines: Engines) -> Answers:
    """What the model answers, made in the store as far as it is not made there already; killed, the same call goes on.

    Raises what a seed raises.
    """
    found: list[list[AnswerTurn]] = [[] for _ in questions.questions]
    made: list[Dataset] = []
    for number in range(max(len(each.turns) for each in questions.questions)):
        asked = {place: _conversation(each, found[place]) for place, each in enumerate(questions.questions) if _goes_on(each, found[place], number)}
        rows = list(_prompts(asked.values(), questions.name))
        if rows:
            identity = questions_identity(questions, number, made)
            prompts = _prompts_dataset(questions, identity, rows, execution.store / str(MadeName.made("prompts", identity.fingerprint)))
            job = planned(seed, input_of(prompts, questions.place), model=model)
            made.append(job.make(execution.store / job.name, execution, engines))
            said = {(row["prompt_id"], row["sample"]): AnswerTurn(row["response"], row["finish"], row["sampled_tokens"]) for row in made[-1].rows()}
            for place, row in zip(asked, rows, strict=True):
                found[place].append(said[row["prompt_id"], row["sample"]])
        for place, each in enumerate(questions.questions):
            if len(each.turns) > number == len(found[place]):
                found[place].append(AnswerTurn(None, None, None))
    return Answers(questions, tuple(map(tuple, found)), tuple(made))


def _goes_on(question: Question, turns: Sequence[AnswerTurn], number: int) -> bool:
    return len(question.turns) > number and all(turn.text is not None for turn in turns)


def _conversation(question: Question, turns: Sequence[AnswerTurn]) -> list[Message]:
    messages: list[Message] = []
    for said, turn in zip(question.turns, turns, strict=False):
        messages += [Message(role="user", content=said), Message(role="assistant", content=turn.text or "")]
    return [*messages, Message(role="user", content=question.turns[len(turns)])]


def _prompts(conversations: Iterable[list[Message]], source: str) -> Iterator[Row]:
    """A row for each; of equal ones, each is a sample of its own."""
    seen: Counter[str] = Counter()
    for messages in conversations:
        name = prompt_id(messages)
        yield Row(
            prompt_id=name,
            messages=messages,
            reference=None,
            rejected=None,
            source=source,
            count=1,
            duplicate_of=None,
            contaminated_by=None,
            sample=seen[name],
        )
        seen[name] += 1


def questions_identity(questions: QuestionSet, turn: int, before: Sequence[Dataset]) -> Identity:
    """Of the prompts of one turn: decided by the file, and by the answers to the turns before."""
    inputs = (
        InputRecord(reference=questions.place, table=None, fingerprint=f"file:{questions.digest}"),
        *(InputRecord(reference=str(each.folder), table=each.table, fingerprint=each.manifest.fingerprint) for each in before),
    )
    fields = {"layout": questions.layout, "turn": turn + 1}
    return Identity(stage="questions", revision=REVISION, schema_version=schema("prompts").version, fields=fields, inputs=inputs, models={})


def write_questions(questions: QuestionSet, identity: Identity, folder: Path) -> Dataset:
    """The prompts of the first turn, in this folder; written once."""
    asked = (_conversation(each, ()) for each in questions.questions)
    return _prompts_dataset(questions, identity, list(_prompts(asked, questions.name)), folder)


def _prompts_dataset(questions: QuestionSet, identity: Identity, rows: list[Row], folder: Path) -> Dataset:
    def work(into: Unfinished) -> StageSummary:
        write_all(into, pa.Table.from_pylist(rows, schema=schema("prompts").arrow).to_reader())
        return StageSummary(rows_in=len(questions.questions), outcome="'prompt'")

    return make(folder, identity, table="prompts", part_rows=PART_ROWS, work=work)
