"""What a raw row means as a prompt with its answers, told by the names of its columns."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sgpo_data.rows import Message
from sgpo_data.sources.odd_row import OddRowError, Place, Wording

log = logging.getLogger(__name__)

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
        "label": ("label",),
    },
    "instruction": {
        "instruction": ("instruction",),
        "input": ("input", "context"),
        "output": ("output", "response", "reference"),
        "label": ("label",),
        "history": ("history",),
        "system": ("system", "system_prompt"),
    },
    "question": {
        "question": ("question",),
        "answer": ("answer", "answers", "answerKey", "response", "reference"),
        "label": ("label",),
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


COLUMN_SETS = 1000
"""Sets of columns whose binding is kept: rows of JSON can have any number of them."""


@dataclass(frozen=True, slots=True)
class Record:
    """A raw row. `values` may leave out columns that no shape knows; `columns` names them all."""

    values: Mapping[str, object]
    columns: tuple[str, ...]
    place: str
    """For messages: the source, and the line or row, from 1."""
    source: str
    """As column `source` of table prompts has it."""
    fault: OddRowError | None = None
    """Why it has no columns, if it has none."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation up to the turn to be answered, and the answers that came with it."""

    messages: list[Message]
    reference: str | None
    rejected: str | None
    unread: tuple[str, ...] = ()
    """What of the row holds something and is not read, besides columns that no part is read from: keys of messages, tools, a label beside no answer."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A shape, and which column each of its parts is read from; parts that no column gives are left out."""

    shape: ShapeName
    columns: Mapping[str, str]

    def __str__(self) -> str:
        return f"shape {self.shape}: " + ", ".join(f"{part} from column {column}" for part, column in self.columns.items())


class Bindings:
    """Which columns rows are read from; all rows of a source are of one shape."""

    def __init__(self, reference: str, shape: str, given: Mapping[str, str]) -> None:
        self._reference = reference
        self._wanted = shape
        self._given = given
        self._bound: dict[tuple[str, ...], Binding] = {}
        self.shape: ShapeName | None = None
        """That of the first row that any fits."""

    def of(self, record: Record) -> Binding:
        """Raises OddRowError if the row is of no shape, or of another than those before."""
        if record.columns in self._bound:
            return self._bound[record.columns]
        binding = _bind(record, self._wanted, self._given)
        if self.shape is None:
            self.shape = binding.shape
            log.info("%s: %s", self._reference, binding)
        elif binding.shape != self.shape:
            columns = Wording(f"columns {', '.join(record.columns)} are", "columns are")
            raise Place(record.place).odd(f"{{}} of shape {binding.shape}, rows before of {self.shape}; set source.shape", columns)
        if len(self._bound) == COLUMN_SETS:
            self._bound.clear()
        self._bound[record.columns] = binding
        return binding


def _bind(record: Record, shape: str, given: Mapping[str, str]) -> Binding:
    """The shape of this row by its column names; `shape` is auto or one of them, `given` sets the columns of some parts.

    Of the shapes that fit, preference goes before messages and messages before the rest.

    Raises OddRowError if none fits, if two of the rest fit, or if a part could be read from two columns.
    """
    if record.fault is not None:
        raise record.fault
    place, columns = Place(record.place), Wording(", ".join(record.columns), "it has")
    absent = ", ".join(column for column in given.values() if column not in record.columns)
    if absent:
        raise place.odd("no column {}{}", Wording(absent, absent), Wording(f"; it has {columns.full}", ""))
    candidates: list[ShapeName] = [name for name in PARTS if shape in ("auto", name)]
    fitting = [name for name in candidates if _fits(name, record.columns, given)]
    if not fitting:
        needs = "; ".join(f"{name} needs {_needs(name)}" for name in candidates)
        fits = "no shape fits" if shape == "auto" else f"shape {shape} does not fit"
        raise place.odd(f"{fits} the columns {{}}", Wording(f"{columns.full}: {needs}; name them with source.columns", columns.kind))
    if len(fitting) > 1 and fitting[0] not in ("preference", "messages"):
        raise place.odd(f"the columns {{}} fit the shapes {' and '.join(fitting)}; set source.shape", columns)
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
            could = " or ".join(found)
            raise Place(record.place).odd(f"{part} could be column {{}}; say which with source.columns {part}=...", Wording(could, could))
        for column in found:
            yield part, column
