"""Turns of a conversation as the programs that make such files write them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from sgpo_data.rows import Message
from sgpo_data.sources.json_objects import lost_key
from sgpo_data.sources.odd_row import Place, Wording, described

ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "developer": "system",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "ipython": "tool",
}
"""Names of roles elsewhere (ShareGPT, Cohere, LangChain, Gemini, OpenAI, GLM, ms-swift, Llama 3), and ours; others stay as they are."""
CALLING_ROLES = frozenset(["function_call", "tool_call"])
"""What LLaMA-Factory and ms-swift call a turn that calls a tool."""
KEYS = (("role", "content"), ("from", "value"))
REASONING = ("reasoning_content", "reasoning", "thinking")
"""What DeepSeek, vLLM and gpt-oss files call the thought before an answer."""
CALLS = ("tool_calls", "function_call")
TRAINED = ("loss", "train", "training")
"""What ms-swift and Axolotl files call, true or false, whether a turn is to be learned."""
EMPTY_TEXTS = frozenset(["", "[]", "{}", "null"])
"""Nothing, as columns of text write it."""
OWN_ROLES = frozenset(["system", "user", "assistant", "tool"])
PLAIN_KEYS = frozenset(["role", "content"])
READ_KEYS = frozenset(["role", "content", "from", "value", "weight", *CALLS])
TRANSCRIPT = re.compile(r"(?:\A|\n\n)(Human|Assistant): ?")
"""https://huggingface.co/datasets/Anthropic/hh-rlhf: a conversation as one text."""
LOST = "has {} twice in one object"
"""Of a key that JSON readers keep the last value of."""
SPEAKER = re.compile(r"""["'](?:role|from)["']:""")
PYTHON_TURNS = re.compile(r"\s*\[\s*\{[^{}]{0,40}'(?:role|from)': '(\w+)'|\s*\[\s*\{'(?:content|value)': .*'(?:role|from)': '(\w+)'\s*\}", re.DOTALL)
"""Turns as pandas writes a list into a cell of text; what is in them cannot be told for certain."""


@dataclass(frozen=True, slots=True)
class SourceTurn:
    """A turn with what a training file says of it besides."""

    message: Message
    target: bool
    """Whether it may be learned: OpenAI's `weight: 0` is context, and never a target."""
    unread: tuple[str, ...]
    """Keys that hold something and are not read."""

    @property
    def learned(self) -> str | None:
        """Its text as an answer; None if it is no target."""
        return self.message["content"] if self.target else None


def read_turns(value: object, place: Place) -> list[SourceTurn]:
    """The turns of a list of messages.

    Raises OddRowError at the first that is none, or that calls tools.
    """
    if not isinstance(value, list):
        raise place.odd("is {}, not a list of messages", described(value))
    if not value:
        raise place.odd("has no messages")
    return [_turn(turn, place.item("message", number)) for number, turn in enumerate(value, 1)]


def are_turns(value: object) -> bool:
    """Whether this is a list of turns by the keys of its objects; whether they can be read is another question."""
    return isinstance(value, list) and bool(value) and all(isinstance(turn, Mapping) and any(set(keys) <= turn.keys() for keys in KEYS) for turn in value)


def _turn(turn: object, place: Place) -> SourceTurn:
    if not isinstance(turn, Mapping):
        raise place.odd("is {}, not an object with role and content", described(turn))
    if _is_plain(turn):
        return SourceTurn(Message(role=turn["role"], content=turn["content"]), target=True, unread=())
    # Files that were merged have both pairs of keys, of which one is null.
    keys = next((pair for pair in KEYS if turn.get(pair[0]) is not None and pair[1] in turn), None)
    if keys is None:
        keys = next((pair for pair in KEYS if set(pair) <= turn.keys()), None)
    if keys is None:
        names = ", ".join(map(str, turn)) or "none"
        raise place.odd("has the keys {}, not role and content (or from and value)", Wording(names, "of something else"))
    role = read_text(turn[keys[0]], place.inside(keys[0]))
    if not role.strip():
        raise place.odd("has an empty role")
    if role.strip().lower() in CALLING_ROLES or any(says_something(turn.get(key)) for key in CALLS):
        raise place.odd("calls a tool, which is not read")
    content = _content(turn[keys[1]], place.inside(keys[1]))
    role = _role(role)
    thought = next((key for key in REASONING if turn.get(key)), None) if role == "assistant" else None
    if thought:
        content = f"<think>\n{read_text(turn[thought], place.inside(thought)).strip()}\n</think>\n\n{content}"
    trained = {key: turn[key] for key in TRAINED if isinstance(turn.get(key), bool)}
    read = READ_KEYS | {thought, *trained}
    unread = tuple(str(key) for key, value in turn.items() if key not in read and value not in (None, "", [], {}))
    target = _learned(turn.get("weight"), place.inside("weight")) and all(trained.values())
    return SourceTurn(Message(role=role, content=content), target=target, unread=unread)


def _is_plain(turn: Mapping[str, object]) -> bool:
    """Whether it is written as it is read: most turns are, and need none of the questions that others are asked."""
    role, content = turn.get("role"), turn.get("content")
    return turn.keys() == PLAIN_KEYS and isinstance(role, str) and role in OWN_ROLES and isinstance(content, str) and _lone_surrogate(content) is None


def _role(name: str) -> str:
    """As it is called here, in capitals or not; a role that is not known stays as it is written."""
    known = name.strip().lower()
    return ROLES.get(known, known if known in OWN_ROLES else name)


def _learned(weight: object, place: Place) -> bool:
    if weight is None or isinstance(weight, int | float):
        return weight != 0
    learned = truth(weight)
    if learned is None:
        raise place.odd("is {}, not 0 or 1", described(weight))
    return learned


def _content(value: object, place: Place) -> str:
    """Text, or a list of parts that are all text."""
    if not isinstance(value, list):
        return read_text(value, place)
    texts = []
    for number, part in enumerate(value, 1):
        inside = place.item("part", number)
        if isinstance(part, str):
            texts.append(read_text(part, inside))
        elif isinstance(part, Mapping) and part.get("type", "text") in ("text", "input_text", "output_text") and "text" in part:
            texts.append(read_text(part["text"], inside))
        else:
            kind = part.get("type") if isinstance(part, Mapping) else None
            raise inside.odd("is {}, not text", Wording(f"of kind {kind}", "of another kind") if isinstance(kind, str) else described(part))
    return "".join(texts)


def read_transcript(text: str) -> list[Message] | None:
    """The turns of `Human: ... Assistant: ...`; None if it is no such text."""
    marks = list(TRANSCRIPT.finditer(text))
    if not marks or text[: marks[0].start()].strip() or marks[0][1] != "Human":
        return None
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [Message(role=ROLES_OF_TRANSCRIPT[mark[1]], content=text[mark.end() : end].strip()) for mark, end in zip(marks, ends, strict=True)]


ROLES_OF_TRANSCRIPT = {"Human": "user", "Assistant": "assistant"}


def read_open_transcript(text: str) -> list[Message] | None:
    """The turns of a transcript that ends where the assistant is to speak; None if it is no such text."""
    turns = read_transcript(text) if text.lstrip().startswith("Human:") else None
    return turns[:-1] if turns and turns[-1] == Message(role="assistant", content="") else None


def unwrapped(value: object, place: Place) -> object:
    """The turns that a text holds as JSON, or a list to each of their keys, or the list of one turn that stands alone; any other value as it is.

    Raises OddRowError for turns that are written as Python writes them, or in which a key stands twice.
    """
    if isinstance(value, Mapping):
        return next((turns for turns in ([value], _turned(value)) if _is_spoken(turns)), value)
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")) or not SPEAKER.search(value):
        return value
    try:
        turns = orjson.loads(value)
    except orjson.JSONDecodeError:
        found = PYTHON_TURNS.match(value)
        if found and _role(found[1] or found[2]) in OWN_ROLES:
            raise place.odd("holds turns as Python prints a list, not as JSON; write the column with json.dumps") from None
        return value
    listed = [turns] if isinstance(turns, Mapping) else turns
    if not _is_spoken(listed):
        return value
    if (lost := lost_key(value, turns)) is not None:
        raise place.odd(LOST, Wording(repr(lost), "a key"))
    return listed


def _turned(value: Mapping[str, object]) -> list[object]:
    """The turns of one list to each key, as `datasets` before 4.0 keeps a list of objects that it calls a Sequence; none if it is something else."""
    columns = [column for column in value.values() if isinstance(column, list)]
    if not columns or len(columns) < len(value) or len({len(column) for column in columns}) > 1:
        return []
    return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]


def _is_spoken(value: object) -> bool:
    """Whether these are turns of roles that are known, and not what else has such keys."""
    return are_turns(value) and isinstance(value, list) and all(_role(str(turn.get("role") or turn.get("from"))) in OWN_ROLES for turn in value)


def read_history(value: object, place: Place) -> Iterator[Message]:
    """Earlier rounds as Alpaca files have them: pairs of question and answer.

    Raises OddRowError if it is no list of such pairs.
    """
    if not isinstance(value, list):
        raise place.odd("is {}, not a list of question and answer pairs", described(value))
    for number, pair in enumerate(value, 1):
        inside = place.item("round", number)
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise inside.odd("is {}, not a question and its answer", described(pair))
        yield Message(role="user", content=read_text(pair[0], inside))
        yield Message(role="assistant", content=read_text(pair[1], inside))


def says_something(value: object) -> bool:
    """Whether tools or calls are there: columns of text write none as `[]`."""
    return bool(value) and not (isinstance(value, str) and value.strip() in EMPTY_TEXTS)


def read_text(value: object, place: Place) -> str:
    """The text it is; raises OddRowError if it is none, or cannot be written down."""
    if not isinstance(value, str):
        raise place.odd("is {}, not text", described(value))
    if (at := _lone_surrogate(value)) is not None:
        found = Wording(f"the lone surrogate \\u{ord(value[at]):04x} at character {at + 1}", "a lone surrogate")
        raise place.odd("has {}, which no text can hold", found)
    return value


def _lone_surrogate(text: str) -> int | None:
    """Where one stands that cannot be written down."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def truth(value: object) -> bool | None:
    """True or false, as JSON, CSV and pandas write them; None if it is neither."""
    if isinstance(value, bool | int | float):
        return bool(value) if value in (0, 1) else None
    return TRUTHS.get(value.strip().lower()) if isinstance(value, str) else None


TRUTHS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
