"""What a raw row means as a prompt with its answers, told by the names of its columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sgpo_data.errors import DatasetError, SchemaError
from sgpo_data.rows import Message

ShapeName = Literal["preference", "messages", "instruction", "question", "prompt"]

PARTS: dict[ShapeName, dict[str, tuple[str, ...]]] = {
    "preference": {
        "chosen": ("chosen",),
        "rejected": ("rejected",),
        "prompt": ("prompt", "question", "instruction"),
        "system": ("system", "system_prompt"),
    },
    "messages": {
        "messages": ("messages", "conversations", "conversation"),
        "reference": ("reference",),
        "rejected": ("rejected",),
        "system": ("system", "system_prompt"),
    },
    "instruction": {
        "instruction": ("instruction",),
        "input": ("input",),
        "output": ("output", "response", "reference"),
        "system": ("system", "system_prompt"),
    },
    "question": {
        "question": ("question",),
        "answer": ("answer", "response", "reference"),
        "system": ("system", "system_prompt"),
    },
    "prompt": {
        "prompt": ("prompt",),
        "reference": ("reference", "response", "completion", "answer"),
        "rejected": ("rejected",),
        "system": ("system", "system_prompt"),
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

SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant"}
"""Roles of the from/value form; others stay as they are."""


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


def prompt(record: Record, binding: Binding) -> Prompt:
    """What this row says.

    An answer that is null or blank is no reference. A blank `system` adds no turn.

    Raises SchemaError, naming the place and what was found, if a value is not what its part must be.
    """
    parts = _Parts(record, binding)
    found = _READERS[binding.shape](parts)
    messages = _with_system(parts, found.messages)
    if not messages:
        raise SchemaError(f"{record.place}: no turn before the answer")
    last = messages[-1]
    if last["role"] not in ("user", "tool"):
        raise SchemaError(f"{record.place}: the turn to be answered is of role {last['role']!r}, not user or tool")
    if not last["content"].strip():
        raise SchemaError(f"{record.place}: the prompt is empty (found {last['content']!r})")
    reference = found.reference if found.reference is not None and found.reference.strip() else None
    return Prompt(messages, reference, found.rejected)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The values of a row by part, each checked as it is read."""

    record: Record
    binding: Binding

    def value(self, part: str) -> object:
        """None if no column gives it, or the column is null."""
        return self.record.values.get(self.binding.columns[part]) if part in self.binding.columns else None

    def text(self, part: str) -> str:
        return _text(self.value(part), self._place(part))

    def turns(self, part: str) -> list[Message]:
        value, place = self.value(part), self._place(part)
        if not isinstance(value, list):
            raise SchemaError(f"{place} is {described(value)}, not a list of messages")
        if not value:
            raise SchemaError(f"{place} has no messages")
        return [_message(turn, f"{place}, message {number}") for number, turn in enumerate(value, 1)]

    def answer(self, part: str) -> str | None:
        """Given as text, or as a list of one assistant turn."""
        value = self.value(part)
        if value is None:
            return None
        if not isinstance(value, list):
            return self.text(part)
        turns = self.turns(part)
        if len(turns) != 1 or turns[0]["role"] != "assistant":
            raise SchemaError(f"{self._place(part)} has the roles {', '.join(turn['role'] for turn in turns)}, not one assistant turn")
        return turns[0]["content"]

    def _place(self, part: str) -> str:
        return f"{self.record.place}: {self.binding.columns.get(part, part)}"


def _from_messages(parts: _Parts) -> Prompt:
    turns = parts.turns("messages")
    if turns[-1]["role"] == "assistant":
        return Prompt(turns[:-1], turns[-1]["content"], parts.answer("rejected"))
    return Prompt(turns, parts.answer("reference"), parts.answer("rejected"))


def _from_prompt(parts: _Parts) -> Prompt:
    return Prompt(_prompt_turns(parts), parts.answer("reference"), parts.answer("rejected"))


def _from_instruction(parts: _Parts) -> Prompt:
    given = parts.value("input")
    suffix = parts.text("input") if given is not None else ""
    instruction = parts.text("instruction")
    # https://github.com/tatsu-lab/stanford_alpaca: an input is optional, and the empty text where there is none.
    text = f"{instruction}\n\n{suffix}" if suffix.strip() else instruction
    return Prompt([Message(role="user", content=text)], parts.answer("output"), None)


def _from_question(parts: _Parts) -> Prompt:
    return Prompt([Message(role="user", content=parts.text("question"))], parts.answer("answer"), None)


def _from_preference(parts: _Parts) -> Prompt:
    if not isinstance(parts.value("chosen"), list):
        if "prompt" not in parts.binding.columns:
            raise SchemaError(f"{parts.record.place}: chosen is {described(parts.value('chosen'))} and there is no prompt column")
        return Prompt(_prompt_turns(parts), parts.text("chosen"), parts.text("rejected"))
    chosen, rejected = parts.turns("chosen"), parts.turns("rejected")
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if turns[-1]["role"] != "assistant":
            raise SchemaError(f"{parts.record.place}: {name} ends with a turn of role {turns[-1]['role']!r}, not assistant")
    if chosen[:-1] != rejected[:-1]:
        raise SchemaError(f"{parts.record.place}: chosen and rejected differ before their last turn ({len(chosen)} and {len(rejected)} turns)")
    # Conversations in full hold the prompt themselves; a prompt column beside them is often its last turn only.
    messages = chosen[:-1] or (_prompt_turns(parts) if "prompt" in parts.binding.columns else [])
    return Prompt(messages, chosen[-1]["content"], rejected[-1]["content"])


_READERS = {
    "preference": _from_preference,
    "messages": _from_messages,
    "instruction": _from_instruction,
    "question": _from_question,
    "prompt": _from_prompt,
}
assert set(_READERS) == set(PARTS) == set(REQUIRED) == set(get_args(ShapeName))


def _prompt_turns(parts: _Parts) -> list[Message]:
    if isinstance(parts.value("prompt"), list):
        return parts.turns("prompt")
    return [Message(role="user", content=parts.text("prompt"))]


def _with_system(parts: _Parts, messages: list[Message]) -> list[Message]:
    if parts.value("system") is None:
        return messages
    system = parts.text("system")
    if not system.strip() or messages[:1] == [Message(role="system", content=system)]:
        return messages
    if messages and messages[0]["role"] == "system":
        raise SchemaError(f"{parts.record.place}: a system turn in the conversation and another in column {parts.binding.columns['system']}")
    return [Message(role="system", content=system), *messages]


def _message(turn: object, place: str) -> Message:
    if not isinstance(turn, Mapping):
        raise SchemaError(f"{place} is {described(turn)}, not an object with role and content")
    if "role" in turn and "content" in turn:
        role, content = _text(turn["role"], f"{place}: role"), turn["content"]
    elif "from" in turn and "value" in turn:
        role, content = _text(turn["from"], f"{place}: from"), turn["value"]
        role = SHAREGPT_ROLES.get(role, role)
    else:
        raise SchemaError(f"{place} has the keys {', '.join(map(str, turn)) or 'none'}, not role and content (or from and value)")
    if not role.strip():
        raise SchemaError(f"{place} has an empty role")
    return Message(role=role, content=_text(content, f"{place}: content"))


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise SchemaError(f"{place} is {described(value)}, not text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        lone = value[error.start]
        raise SchemaError(f"{place} has the lone surrogate \\u{ord(lone):04x} at character {error.start + 1}, which no text can hold") from error
    return value


def described(value: object) -> str:
    """A value as messages say what was found: its kind, and the value itself if it is short."""
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return f"{str(value).lower() if isinstance(value, bool) else value} (a {'boolean' if isinstance(value, bool) else 'number'})"
    if isinstance(value, str):
        return f"text ({value if len(value) <= 40 else value[:40] + '...'!r})"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else f"a {type(value).__name__}"
