"""Turns of a conversation as the programs that make such files write them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sgpo_data.errors import SchemaError
from sgpo_data.rows import Message

ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "developer": "system",
    "function": "tool",
    "observation": "tool",
}
"""Names of roles elsewhere (ShareGPT, Gemini, OpenAI, GLM), and ours; others stay as they are."""
READ_KEYS = frozenset(["role", "content", "from", "value", "weight", "reasoning_content", "tool_calls", "function_call"])
CALLS = ("tool_calls", "function_call")
TRANSCRIPT = re.compile(r"(?:\A|\n\n)(Human|Assistant): ?")
"""https://huggingface.co/datasets/Anthropic/hh-rlhf: a conversation as one text."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn with what a training file says of it besides."""

    message: Message
    target: bool
    """Whether it may be learned: OpenAI's `weight: 0` is context, and never a target."""
    unread: tuple[str, ...]
    """Keys that hold something and are not read."""


def read_turns(value: object, place: str) -> list[Turn]:
    """The turns of a list of messages.

    Raises SchemaError at the first that is none, or that calls tools.
    """
    if not isinstance(value, list):
        raise SchemaError(f"{place} is {described(value)}, not a list of messages")
    if not value:
        raise SchemaError(f"{place} has no messages")
    return [_turn(turn, f"{place}, message {number}") for number, turn in enumerate(value, 1)]


def _turn(turn: object, place: str) -> Turn:
    if not isinstance(turn, Mapping):
        raise SchemaError(f"{place} is {described(turn)}, not an object with role and content")
    # Files that were merged have both pairs of keys, of which one is null.
    keys = next((pair for pair in (("role", "content"), ("from", "value")) if turn.get(pair[0]) is not None and pair[1] in turn), None)
    if keys is None:
        keys = next((pair for pair in (("role", "content"), ("from", "value")) if set(pair) <= turn.keys()), None)
    if keys is None:
        raise SchemaError(f"{place} has the keys {', '.join(map(str, turn)) or 'none'}, not role and content (or from and value)")
    role = read_text(turn[keys[0]], f"{place}: {keys[0]}")
    if not role.strip():
        raise SchemaError(f"{place} has an empty role")
    if role == "function_call" or any(turn.get(key) for key in CALLS):
        raise SchemaError(f"{place} calls a tool, which is not read")
    content = _content(turn[keys[1]], f"{place}: {'content' if keys[1] == 'content' else 'value'}")
    role = ROLES.get(role, role)
    thought = turn.get("reasoning_content")
    if thought and role == "assistant":
        content = f"<think>\n{read_text(thought, f'{place}: reasoning_content').strip()}\n</think>\n\n{content}"
    unread = tuple(str(key) for key, value in turn.items() if key not in READ_KEYS and value not in (None, "", [], {}))
    return Turn(Message(role=role, content=content), target=turn.get("weight") != 0, unread=unread)


def _content(value: object, place: str) -> str:
    """Text, or a list of parts that are all text."""
    if not isinstance(value, list):
        return read_text(value, place)
    texts = []
    for number, part in enumerate(value, 1):
        if isinstance(part, str):
            texts.append(read_text(part, f"{place}, part {number}"))
        elif isinstance(part, Mapping) and part.get("type", "text") in ("text", "input_text", "output_text") and "text" in part:
            texts.append(read_text(part["text"], f"{place}, part {number}"))
        else:
            kind = part.get("type") if isinstance(part, Mapping) else None
            raise SchemaError(f"{place}, part {number} is of kind {kind if isinstance(kind, str) else described(part)}, not text")
    return "".join(texts)


def read_transcript(text: str, place: str) -> list[Message] | None:
    """The turns of `Human: ... Assistant: ...`; None if it is no such text."""
    marks = list(TRANSCRIPT.finditer(text))
    if not marks or text[: marks[0].start()].strip() or marks[0][1] != "Human":
        return None
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [Message(role=ROLES_OF_TRANSCRIPT[mark[1]], content=text[mark.end() : end].strip()) for mark, end in zip(marks, ends, strict=True)]


ROLES_OF_TRANSCRIPT = {"Human": "user", "Assistant": "assistant"}


def read_history(value: object, place: str) -> Iterator[Message]:
    """Earlier rounds as Alpaca files have them: pairs of question and answer.

    Raises SchemaError if it is no list of such pairs.
    """
    if not isinstance(value, list):
        raise SchemaError(f"{place} is {described(value)}, not a list of question and answer pairs")
    for number, pair in enumerate(value, 1):
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise SchemaError(f"{place}, round {number} is {described(pair)}, not a question and its answer")
        yield Message(role="user", content=read_text(pair[0], f"{place}, round {number}"))
        yield Message(role="assistant", content=read_text(pair[1], f"{place}, round {number}"))


def read_text(value: object, place: str) -> str:
    """The text it is; raises SchemaError if it is none, or cannot be written down."""
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
