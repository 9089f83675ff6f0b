"""The questions of a public set, verbatim and in its order: from a file in its official layout, here or on the Hub."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson
from pydantic import JsonValue

from sgpo_data.errors import DatasetError, SchemaError, got
from sgpo_data.execution import Execution
from sgpo_data.hub.fetch import fetched_file
from sgpo_data.hub.repository import HubRepository
from sgpo_data.names import HubPlace, hub_place
from sgpo_data.paths import local_path

Layout = Literal["alpaca_eval", "arena_hard", "ifeval", "mt_bench"]

SETS: Mapping[str, HubPlace] = {
    "alpaca_eval": HubPlace("tatsu-lab/alpaca_eval", None, "alpaca_eval.json"),
    "arena_hard": HubPlace("lmarena-ai/arena-hard-auto", None, "data/arena-hard-v0.1/question.jsonl"),
    "ifeval": HubPlace("google/IFEval", None, "ifeval_input_data.jsonl"),
    "mt_bench": HubPlace("HuggingFaceH4/mt_bench_prompts", None, "raw/question.jsonl"),
}
"""Where the sets with a name of their own lie on the Hub; Arena-Hard is v0.1, since small models are on the floor of v2.0."""


@dataclass(frozen=True)
class Question:
    """One question, or several turns of one conversation."""

    id: str
    """As the set calls it; of a set that does not, its place from 0."""
    turns: tuple[str, ...]
    """What the user says, turn by turn."""
    row: Mapping[str, JsonValue]
    """All that the set says of it."""


@dataclass(frozen=True)
class QuestionSet:
    """The questions of one file."""

    place: str
    """Its path, or its place on the Hub at a commit."""
    layout: Layout
    digest: str
    """SHA-256 of the file."""
    questions: tuple[Question, ...]

    @property
    def name(self) -> str:
        """Of the file, without the folders before it."""
        return self.place.rpartition("/")[2]


def open_set(reference: str, execution: Execution) -> QuestionSet:
    """The set of this name, of a local file, or of a file on the Hub (hf://datasets/org/name@revision/path), fetched once for each commit.

    Raises DatasetError if it is not there or has no question, SchemaError if a row is not of the layout that the first row is of, HubError if the Hub fails.
    """
    place = SETS.get(reference) or hub_place(reference)
    path = local_path(reference)
    if place is not None and not path.is_file():
        fixed, path = _fetched(place, execution.store)
        return _opened(path, str(fixed))
    if not path.is_file():
        raise DatasetError(f"{reference}: no such set or file; the sets are {', '.join(SETS)}, a file has the layout of one of them")
    return _opened(path, reference)


def json_rows(content: bytes, place: str) -> list[dict[str, JsonValue]]:
    """The objects of a JSON list, or of JSON lines.

    Raises SchemaError naming the line that is neither.
    """
    try:
        whole = content.lstrip().startswith(b"[")
        rows = orjson.loads(content) if whole else [orjson.loads(line) for line in content.split(b"\n") if line.strip()]
    except orjson.JSONDecodeError as error:
        raise SchemaError(f"{place}: is neither a JSON list nor JSON lines ({error})") from error
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise SchemaError(f"{place}: row {number} is no object {got(row)}")
    return list(rows)


def layout_of(row: Mapping[str, JsonValue], place: str) -> Layout:
    """The layout that a row of questions is of.

    Raises SchemaError if it is of none.
    """
    if "instruction" in row:
        return "alpaca_eval"
    if "uid" in row and "prompt" in row:
        return "arena_hard"
    if "instruction_id_list" in row and "prompt" in row:
        return "ifeval"
    if "question_id" in row and ("turns" in row or isinstance(row.get("prompt"), list)):
        return "mt_bench"
    known = "instruction (AlpacaEval), uid and prompt (Arena-Hard), instruction_id_list and prompt (IFEval), question_id and turns (MT-Bench)"
    raise SchemaError(f"{place}: its first row is of no layout that is known (it has {', '.join(row) or 'nothing'}); known are {known}")


def _fetched(place: HubPlace, store: Path) -> tuple[HubPlace, Path]:
    hub = HubRepository(place.repository)
    fixed = place.at(hub.commit(place.revision))
    assert fixed.revision is not None
    files = hub.files(fixed.revision)
    if fixed.path not in files:
        raise DatasetError(f"{fixed}: no such file there; name one of: {', '.join(sorted(name for name in files if 'json' in name)[:20])}")
    path = store / "sets" / f"{fixed.repository.replace('/', '--')}@{fixed.revision[:8]}" / fixed.path
    fetched_file(fixed, files[fixed.path], path)
    return fixed, path


def _opened(path: Path, place: str) -> QuestionSet:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from error
    rows = json_rows(content, place)
    if not rows:
        raise DatasetError(f"{place}: has no question")
    layout = layout_of(rows[0], place)
    questions = tuple(_questions(rows, layout, place))
    (name, count), *_ = Counter(each.id for each in questions).most_common(1)
    if count > 1:
        raise SchemaError(f"{place}: {count} questions are called {name}; give each an id of its own, so that answers can be told apart")
    return QuestionSet(place, layout, hashlib.sha256(content).hexdigest(), questions)


def _questions(rows: list[dict[str, JsonValue]], layout: Layout, place: str) -> Iterator[Question]:
    names = {"alpaca_eval": ("instruction",), "arena_hard": ("prompt",), "ifeval": ("prompt",), "mt_bench": ("turns", "prompt")}[layout]
    ids = {"alpaca_eval": None, "arena_hard": "uid", "ifeval": "key", "mt_bench": "question_id"}[layout]
    for number, row in enumerate(rows):
        told = next((row[name] for name in names if name in row), None)
        turns = told if layout == "mt_bench" else [told]
        if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) and turn for turn in turns):
            raise SchemaError(f"{place}: row {number + 1}: {names[0]} is not what a question of {layout} has {got(told)}")
        name = number if ids is None else row.get(ids)
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise SchemaError(f"{place}: row {number + 1}: {ids} is no name of a question {got(name)}")
        yield Question(str(name), tuple(map(str, turns)), row)
