"""Answers that are there: official files of AlpacaEval, Arena-Hard and IFEval, and datasets of ours."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sgpo_data.errors import DatasetError, SchemaError
from sgpo_data.evaluation.official_answers import official_answers
from sgpo_data.paths import local_path
from sgpo_data.references.dataset import find_dataset
from sgpo_data.rows import Message
from sgpo_data.sources.source import prompt_id

COLUMNS = {"response": "policy", "improved": "improver"}
"""Columns of our datasets that hold an answer, each with the one that says whose it is."""


@dataclass(frozen=True)
class RecordedAnswer:
    """One answer of a model."""

    messages: list[Message]
    text: str
    number: int
    """Its place in the file, from 0."""
    question: str | None
    """What the set calls the question, where the file says it."""
    category: str | None

    @property
    def prompt_id(self) -> str:
        """Of what was asked."""
        return prompt_id(self.messages)


@dataclass(frozen=True)
class AnswersOf:
    """Whose answers they are and where they lie, known of responses before they are written."""

    name: str
    """What the file calls the model."""
    place: str
    digest: str
    """Of the content, wherever it lies."""


@dataclass(frozen=True)
class Recorded(AnswersOf):
    """All answers of one model, in the order of the file."""

    answers: tuple[RecordedAnswer, ...]


def recorded(reference: str, root: Path, *, column: str = "response") -> Recorded:
    """The answers in an official file, or in this column of a dataset of ours; rows without an answer are left out.

    Raises DatasetError if there are none, SchemaError if a row is of no layout that is known.
    """
    path = local_path(reference)
    if path.is_file():
        return _file(path, reference)
    dataset = find_dataset(reference, root)
    if dataset is None:
        raise DatasetError(f"{reference}: no such file or dataset; give an official file of answers, or the folder of a dataset with responses")
    author = COLUMNS[column]
    authors: set[str] = set()
    answers = []
    for number, row in enumerate(dataset.rows()):
        values: Mapping[str, object] = {**row}
        if column not in values:
            raise SchemaError(f"{reference}: holds {dataset.table}, which has no {column}; give a dataset that has it")
        text = values[column]
        if isinstance(text, str):
            authors.add(str(values[author]))
            answers.append(RecordedAnswer(row["messages"], text, number, None, row["source"]))
    if not answers:
        raise DatasetError(f"{reference}: no row has a {column}")
    manifest = dataset.manifest
    identity = manifest.identity.models.get(author)
    name = identity.identity if identity is not None else "+".join(sorted(authors))
    digest = responses_digest(manifest.fingerprint, column)
    return Recorded(f"{column}@{manifest.fingerprint[:8]}" if column != "response" else name, reference, digest, tuple(answers))


def responses_digest(fingerprint: str, column: str = "response") -> str:
    """Of the answers in this column of the dataset of this fingerprint."""
    return hashlib.sha256(f"{fingerprint}/{column}".encode()).hexdigest()


def _file(path: Path, place: str) -> Recorded:
    found = official_answers(path, place)
    answers = (RecordedAnswer(each.messages, each.text, number, each.question, each.category) for number, each in enumerate(found.answers))
    return Recorded(found.name, place, found.digest, tuple(answers))
