"""Answers that are there, read in one way: official files of AlpacaEval, Arena-Hard and IFEval, and datasets of ours."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sgpo_data.errors import DatasetError, SchemaError
from sgpo_data.evaluation.official_answers import official_answers
from sgpo_data.paths import local_path, nearby
from sgpo_data.references.dataset import find_dataset
from sgpo_data.rows import Message
from sgpo_data.schema import schema
from sgpo_data.sources.source import prompt_id
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.input import input_of
from sgpo_data.store.manifest import InputRecord

AUTHORS = {"response": "policy", "improved": "improver"}
"""Columns of our datasets that hold an answer, each with the one that says whose it is."""

Key = tuple[str, int]
"""prompt_id, and the number among the answers to the same prompt: of a dataset the row's sample, of a file in its order."""


@dataclass(frozen=True)
class RecordedAnswer:
    """One answer of a model."""

    key: Key
    messages: list[Message]
    text: str | None
    """None if there is no answer."""
    number: int
    """Its place in the file or the dataset, from 0."""
    question: str | None
    """What the set calls the question, where the file says it."""
    category: str | None


@dataclass(frozen=True)
class AnswersOf:
    """Whose answers they are and where they lie, known of a dataset before it is made."""

    name: str
    """Of the model; of the two texts of one dataset, the column."""
    record: InputRecord
    column: str = "response"
    """Of a dataset."""

    @property
    def digest(self) -> str:
        """Of the content, wherever it lies."""
        if self.record.table is None:
            return self.record.fingerprint.removeprefix("file:")
        return hashlib.sha256(f"{self.record.fingerprint}/{self.column}".encode()).hexdigest()

    @property
    def place(self) -> str:
        """What they were named by."""
        return self.record.reference


@dataclass(frozen=True)
class Recorded(AnswersOf):
    """All answers of one model, in the order of the file."""

    answers: tuple[RecordedAnswer, ...] = ()

    @cached_property
    def by_key(self) -> Mapping[Key, RecordedAnswer]:
        """The answers, each by its key."""
        return {each.key: each for each in self.answers}


def recorded(reference: str, root: Path) -> Recorded:
    """The answers in an official file, or the responses of a dataset.

    Raises DatasetError if there are none, SchemaError if a row is of no layout that is known.
    """
    path = local_path(reference)
    if path.is_file():
        return _file(path, reference)
    dataset = find_dataset(reference, root)
    if dataset is None:
        what = nearby(path) or "give an official file of answers (AlpacaEval, Arena-Hard or IFEval), or a dataset with responses"
        raise DatasetError(f"{reference}: no such file or dataset; {what}")
    found, authors = _column(dataset, reference, "response")
    return Recorded("+".join(authors), input_of(dataset, reference).record, answers=found)


def rewritten(dataset: Dataset, reference: str) -> tuple[Recorded, Recorded]:
    """The rewrites of a dataset, and the responses that they are held against.

    Raises SchemaError if it has no rewrites.
    """
    record = input_of(dataset, reference).record
    improved, response = (Recorded(column, record, column, answers=_column(dataset, reference, column)[0]) for column in ("improved", "response"))
    return improved, response


def rewritten_of(record: InputRecord) -> tuple[AnswersOf, AnswersOf]:
    """The same of a dataset that need not be made yet."""
    return AnswersOf("improved", record, "improved"), AnswersOf("response", record, "response")


def _column(dataset: Dataset, reference: str, column: str) -> tuple[tuple[RecordedAnswer, ...], list[str]]:
    """The texts of a column, and whose they are."""
    author = AUTHORS[column]
    if not {column, author} <= set(schema(dataset.table).column_names):
        raise SchemaError(f"{reference}: holds {dataset.table}, which has no {column}; give a dataset that has it")
    authors: set[str] = set()
    answers = []
    for number, row in enumerate(dataset.rows()):
        values: Mapping[str, object] = {**row}
        text = values[column]
        if values[author] is not None:
            authors.add(str(values[author]))
        answers.append(RecordedAnswer((row["prompt_id"], row["sample"]), row["messages"], text if isinstance(text, str) else None, number, None, row["source"]))
    if not answers:
        raise DatasetError(f"{reference}: has no row")
    return tuple(answers), sorted(authors)


def _file(path: Path, place: str) -> Recorded:
    found = official_answers(path, place)
    seen: Counter[str] = Counter()
    answers = []
    for number, each in enumerate(found.answers):
        prompt = prompt_id(each.messages)
        answers.append(RecordedAnswer((prompt, seen[prompt]), each.messages, each.text, number, each.question, each.category))
        seen[prompt] += 1
    record = InputRecord(reference=place, table=None, fingerprint=f"file:{found.digest}")
    return Recorded(found.name, record, answers=tuple(answers))
