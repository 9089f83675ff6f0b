"""Official answer files of AlpacaEval, Arena-Hard and IFEval, row by row."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from sgpo_data.errors import DatasetError, SchemaError, got
from sgpo_data.evaluation.sets import json_rows
from sgpo_data.names import split_revision
from sgpo_data.rows import Message
from sgpo_data.store.files import file_digest

KNOWN = "instruction and output (AlpacaEval), uid and messages (Arena-Hard), or prompt and response (IFEval)"


@dataclass(frozen=True)
class OfficialAnswer:
    """One row of a file."""

    messages: list[Message]
    """What was asked: one turn."""
    text: str
    question: str | None
    """What the set calls the question, where the file says it."""
    category: str | None


@dataclass(frozen=True)
class OfficialAnswers:
    """A file, in its order."""

    name: str
    """What the file calls the model; its own name where it does not say."""
    digest: str
    """SHA-256 of the file."""
    answers: tuple[OfficialAnswer, ...]


def official_answers(path: Path, place: str) -> OfficialAnswers:
    """The answers of one model in this file.

    Raises DatasetError if it cannot be read or has none, SchemaError if a row is of no layout that is known or they are of several models.
    """
    try:
        rows = json_rows(path.read_bytes(), place)
        digest = file_digest(path)
    except OSError as error:
        raise DatasetError(f"{place}: cannot be read ({error.strerror or error})") from error
    if not rows:
        raise DatasetError(f"{place}: has no answer")
    answers = tuple(_answers(rows, place))
    said = {name for row in rows for name in (row.get("generator"), row.get("model")) if isinstance(name, str) and name}
    if len(said) > 1:
        raise SchemaError(f"{place}: holds answers of {len(said)} models ({', '.join(sorted(said)[:5])}); give one file for each")
    return OfficialAnswers(said.pop() if said else split_revision(path.stem)[0], digest, answers)


def _answers(rows: list[dict[str, JsonValue]], place: str) -> Iterator[OfficialAnswer]:
    for number, row in enumerate(rows, 1):
        where = f"{place}: row {number}"
        if "instruction" in row and "output" in row:
            asked, text, question, category = row["instruction"], row["output"], None, row.get("dataset")
        elif "uid" in row and "messages" in row:
            asked, text = _conversation(row["messages"], where)
            question, category = row["uid"], row.get("category")
        elif "prompt" in row and "response" in row:
            asked, text, question, category = row["prompt"], row["response"], None, None
        else:
            raise SchemaError(f"{where}: is no answer of a layout that is known (it has {', '.join(row) or 'nothing'}); known are {KNOWN}")
        if not isinstance(asked, str) or not isinstance(text, str):
            raise SchemaError(f"{where}: prompt and answer are no texts {got([asked, text])}")
        messages = [Message(role="user", content=asked)]
        yield OfficialAnswer(messages, text, question if isinstance(question, str) else None, category if isinstance(category, str) else None)


def _conversation(messages: JsonValue, where: str) -> tuple[JsonValue, JsonValue]:
    """Prompt and answer of a file of Arena-Hard; v0.1 wrote the answer as a text, later versions as an object."""
    turns = messages if isinstance(messages, list) else []
    contents = [turn.get("content") if isinstance(turn, dict) else None for turn in turns]
    if len(contents) != 2:
        raise SchemaError(f"{where}: messages are not one question and one answer ({len(contents)} turns)")
    asked, answer = contents
    return asked, answer.get("answer") if isinstance(answer, dict) else answer
