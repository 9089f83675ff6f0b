"""The answers of two models to the same prompts, matched by what was asked and laid side by side, the same whichever is named first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pydantic import JsonValue

from sgpo_data.errors import DatasetError, SchemaError, UsageError
from sgpo_data.evaluation.judge.stage import Comparison
from sgpo_data.evaluation.recorded import AnswersOf, Key, Recorded, RecordedAnswer
from sgpo_data.evaluation.sets import QuestionSet
from sgpo_data.execution import Execution
from sgpo_data.names import MadeName
from sgpo_data.schema import schema
from sgpo_data.store.at_once import write_all
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.manifest import Identity, InputRecord
from sgpo_data.store.resume import make
from sgpo_data.store.unfinished import StageSummary, Unfinished

REVISION = 2
"""Raised when the same answers begin to give other comparisons."""
PART_ROWS = 131072


@dataclass(frozen=True)
class Compared:
    """Two models' answers side by side."""

    dataset: Dataset
    model: str
    """Name of the model that was named first, whose win rate is asked for."""
    baseline: str
    unmatched: Mapping[str, int]
    """Answers of each model to prompts that the other has not answered."""


@dataclass(frozen=True)
class Pairing:
    """Whose answers are laid side by side, known before they are there; the same whichever is named first."""

    model: AnswersOf
    baseline: AnswersOf
    questions: QuestionSet | None = None
    """Says the categories."""

    @property
    def names(self) -> tuple[str, str]:
        """Of the model and of the baseline, told apart."""
        if self.model.name != self.baseline.name:
            return self.model.name, self.baseline.name
        return f"{self.model.name}@{self.model.digest[:8]}", f"{self.baseline.name}@{self.baseline.digest[:8]}"

    @property
    def model_is_first(self) -> bool:
        """Whether the model stands first: in an order that both have of themselves, so that A against B and B against A are the same verdicts."""
        return self.model.digest < self.baseline.digest

    @property
    def first_names(self) -> tuple[str, str]:
        """The names in the order in which they stand."""
        return self.names if self.model_is_first else self.names[::-1]

    @property
    def identity(self) -> Identity:
        """All that decides the comparisons."""
        sides = (self.model, self.baseline) if self.model_is_first else (self.baseline, self.model)
        inputs: tuple[InputRecord, ...] = tuple({each.record.fingerprint: each.record for each in sides}.values())
        categories = None if self.questions is None else self.questions.digest
        fields: dict[str, JsonValue] = {"names": list(self.first_names), "columns": [each.column for each in sides], "categories": categories}
        return Identity(stage="comparisons", revision=REVISION, schema_version=schema("comparisons").version, fields=fields, inputs=inputs, models={})


def compared(model: Recorded, baseline: Recorded, execution: Execution, *, questions: QuestionSet | None = None) -> Compared:
    """Table comparisons of both, in the store; the set, if one is given, says the categories.

    Raises UsageError if both are the same answers, DatasetError if no prompt is answered by both.
    """
    if model.digest == baseline.digest:
        raise UsageError(f"{model.place} and {baseline.place}: are the same answers, so there is nothing to compare")
    pairing = Pairing(model, baseline, questions)
    dataset = write_comparisons(pairing, model, baseline, execution.store / str(MadeName.made("comparisons", pairing.identity.fingerprint)))
    unmatched = {name: len(_written(each)) - dataset.manifest.rows for each, name in zip((model, baseline), pairing.names, strict=True)}
    return Compared(dataset, *pairing.names, {name: count for name, count in unmatched.items() if count})


def write_comparisons(pairing: Pairing, model: Recorded, baseline: Recorded, folder: Path) -> Dataset:
    """Table comparisons of both, in this folder; written once.

    Raises DatasetError if no prompt is answered by both.
    """
    first, second = (model, baseline) if pairing.model_is_first else (baseline, model)
    rows = list(_rows(first, second, pairing.first_names, _categories(pairing.questions)))
    if not rows:
        raise DatasetError(f"{model.place} and {baseline.place}: have no prompt in common; give two models' answers to the same set")

    def work(into: Unfinished) -> StageSummary:
        write_all(into, pa.Table.from_pylist(list(map(dict, rows)), schema=schema("comparisons").arrow).to_reader())
        return StageSummary(rows_in=len(rows), outcome="'comparison'")

    return make(folder, pairing.identity, table="comparisons", part_rows=PART_ROWS, work=work)


def _rows(first: Recorded, second: Recorded, names: tuple[str, str], categories: Mapping[str, str]) -> Iterator[Comparison]:
    theirs = _written(second)
    for key, (answer, text) in _written(first).items():
        if key not in theirs:
            continue
        other, other_text = theirs[key]
        question = answer.question if answer.question is not None else other.question
        name = question if question is not None else str(answer.number)
        yield Comparison(
            prompt_id=key[0],
            sample=key[1],
            messages=answer.messages,
            question=name,
            category=answer.category or other.category or categories.get(name),
            first=names[0],
            second=names[1],
            first_answer=text,
            second_answer=other_text,
        )


def _written(recorded: Recorded) -> dict[Key, tuple[RecordedAnswer, str]]:
    """The answers that have a text."""
    return {each.key: (each, each.text) for each in recorded.answers if each.text is not None}


def _categories(questions: QuestionSet | None) -> dict[str, str]:
    if questions is None:
        return {}
    found = {each.id: each.row.get("category") for each in questions.questions}
    if not any(found.values()):
        raise SchemaError(f"{questions.place}: its questions have no category; leave --set out")
    return {name: category for name, category in found.items() if isinstance(category, str)}
