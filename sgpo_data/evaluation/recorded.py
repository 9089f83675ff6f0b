"""Answers that are there: official files of AlpacaEval, Arena-Hard and IFEval, and datasets of ours."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from sgpo_data.errors import DatasetError, SchemaError, got
from sgpo_data.evaluation.sets import json_rows
from sgpo_data.names import split_revision
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
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{place}: cannot be read ({error.strerror or error})") from error
    rows = json_rows(content, place)
    if not rows:
        raise DatasetError(f"{place}: has no answer")
    answers = tuple(_answers(rows, place))
    said = {name for row in rows for name in (row.get("generator"), row.get("model")) if isinstance(name, str) and name}
    if len(said) > 1:
        raise SchemaError(f"{place}: holds answers of {len(said)} models ({', '.join(sorted(said)[:5])}); give one file for each")
    return Recorded(said.pop() if said else split_revision(path.stem)[0], place, hashlib.sha256(content).hexdigest(), answers)


def _answers(rows: list[dict[str, JsonValue]], place: str) -> Iterator[RecordedAnswer]:
    for number, row in enumerate(rows):
        where = f"{place}: row {number + 1}"
        if "instruction" in row and "output" in row:
            asked, text, question, category = row["instruction"], row["output"], None, row.get("dataset")
        elif "uid" in row and "messages" in row:
            asked, text = _conversation(row["messages"], where)
            question, category = row["uid"], row.get("category")
        elif "prompt" in row and "response" in row:
            asked, text, question, category = row["prompt"], row["response"], None, None
        else:
            known = "instruction and output (AlpacaEval), uid and messages (Arena-Hard), or prompt and response (IFEval)"
            raise SchemaError(f"{where}: is no answer of a layout that is known (it has {', '.join(row) or 'nothing'}); known are {known}")
        if not isinstance(asked, str) or not isinstance(text, str):
            raise SchemaError(f"{where}: prompt and answer are no texts {got([asked, text])}")
        messages = [Message(role="user", content=asked)]
        yield RecordedAnswer(messages, text, number, question if isinstance(question, str) else None, category if isinstance(category, str) else None)


def _conversation(messages: JsonValue, where: str) -> tuple[JsonValue, JsonValue]:
    """Prompt and answer of a file of Arena-Hard; v0.1 wrote the answer as a text, later versions as an object."""
    turns = messages if isinstance(messages, list) else []
    contents = [turn.get("content") if isinstance(turn, dict) else None for turn in turns]
    if len(contents) != 2:
        raise SchemaError(f"{where}: messages are not one question and one answer ({len(contents)} turns)")
    asked, answer = contents
    return asked, answer.get("answer") if isinstance(answer, dict) else answer
