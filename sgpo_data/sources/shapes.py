"""What a raw row means as a prompt with its answers, told by the names of its columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sgpo_data.errors import DatasetError
from sgpo_data.rows import Message

ShapeName = Literal["preference", "messages", "instruction", "question", "prompt"]

PARTS: dict[ShapeName, dict[str, tuple[str, ...]]] = {
    "preference": {
        "chosen": ("chosen", "preferred_output"),
        "rejected": ("rejected", "non_preferred_output"),
        "prompt": ("prompt", "question", "instruction"),
        "input": ("input", "context"),
        "history": ("history",),
        "system": ("system", "system_prompt"),
        "tools": ("tools",),
    },
    "messages": {
        "messages": ("messages", "conversations", "conversation"),
        "reference": ("reference",),
        "rejected": ("rejected",),
        "system": ("system", "system_prompt"),
        "tools": ("tools", "functions"),
    },
    "instruction": {
        "instruction": ("instruction",),
        "input": ("input", "context"),
        "output": ("output", "response", "reference"),
        "history": ("history",),
        "system": ("system", "system_prompt"),
    },
    "question": {
        "question": ("question",),
        "answer": ("answer", "answers", "answerKey", "response", "reference"),
        "context": ("context", "passage"),
        "choices": ("choices", "options"),
        "system": ("system", "system_prompt"),
    },
    "prompt": {
        "prompt": ("prompt",),
        "reference": ("reference", "response", "completion", "answer"),
        "rejected": ("rejected",),
        "label": ("label",),
        "context": ("context",),
        "history": ("history",),
        "system": ("system", "system_prompt"),
        "tools": ("tools",),
    },
}
"""The parts of each shape, and the column names that each part is known by."""

REQUIRED: dict[ShapeName, tuple[str, ...]] = {
    "preference": ("chosen", "rejected"),
    "messages": ("messages",),
    "instruction": ("instruction",),
    "question": ("question",),
    "prompt": ("prompt",),
}

PART_NAMES = tuple(dict.fromkeys(part for parts in PARTS.values() for part in parts))
KNOWN_COLUMNS = frozenset(name for parts in PARTS.values() for names in parts.values() for name in names)


@dataclass(frozen=True, slots=True)
class Record:
    """A raw row. `values` may leave out columns that no shape knows; `columns` names them all."""

    values: Mapping[str, object]
    columns: tuple[str, ...]
    place: str
    """For messages: the source, and the line or row, from 1."""
    source: str
    """As column `source` of table prompts has it."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation up to the turn to be answered, and the answers that came with it."""

    messages: list[Message]
    reference: str | None
    rejected: str | None
    unread: tuple[str, ...] = ()
    """What of the row holds something and is not read, besides columns that no part is read from: keys of messages, a label that is none."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A shape, and which column each of its parts is read from; parts that no column gives are left out."""

    shape: ShapeName
    columns: Mapping[str, str]

    def __str__(self) -> str:
        return f"shape {self.shape}: " + ", ".join(f"{part} from column {column}" for part, column in self.columns.items())


def bind(record: Record, shape: str, given: Mapping[str, str]) -> Binding:
    """The shape of this row by its column names; `shape` is auto or one of them, `given` sets the columns of some parts.

    Of the shapes that fit, preference goes before messages and messages before the rest.

    Raises DatasetError if none fits, if two of the rest fit, or if a part could be read from two columns.
    """
    absent = [column for column in given.values() if column not in record.columns]
    if absent:
        raise DatasetError(f"{record.place}: no column {', '.join(absent)}; it has {', '.join(record.columns)}")
    candidates: list[ShapeName] = [name for name in PARTS if shape in ("auto", name)]
    fitting = [name for name in candidates if _fits(name, record.columns, given)]
    if not fitting:
        wanted = "no shape fits" if shape == "auto" else f"shape {shape} does not fit"
        needs = "; ".join(f"{name} needs {_needs(name)}" for name in candidates)
        raise DatasetError(f"{record.place}: {wanted} the columns {', '.join(record.columns)}: {needs}; name them with source.columns")
    if len(fitting) > 1 and fitting[0] not in ("preference", "messages"):
        raise DatasetError(f"{record.place}: the columns {', '.join(record.columns)} fit the shapes {' and '.join(fitting)}; set source.shape")
    return Binding(fitting[0], dict(_bound(fitting[0], record, given)))


def _fits(shape: ShapeName, columns: Sequence[str], given: Mapping[str, str]) -> bool:
    parts = PARTS[shape]
    return all(part in parts for part in given) and all(part in given or not set(parts[part]).isdisjoint(columns) for part in REQUIRED[shape])


def _needs(shape: ShapeName) -> str:
    return " and ".join(" or ".join(PARTS[shape][part]) for part in REQUIRED[shape])


def _bound(shape: ShapeName, record: Record, given: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    taken = set(given.values())
    for part, names in PARTS[shape].items():
        found = [given[part]] if part in given else [name for name in names if name in record.columns and name not in taken]
        if len(found) > 1:
            raise DatasetError(f"{record.place}: {part} could be column {' or '.join(found)}; say which with source.columns {part}=...")
        for column in found:
            yield part, column
