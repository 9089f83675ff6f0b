"""What a raw row of a known shape says: a conversation up to the turn to be answered, and the answers that came with it."""

from dataclasses import replace

from sgpo_data.rows import Message
from sgpo_data.sources.odd_row import Wording, described, role
from sgpo_data.sources.parts import Binding, Parts
from sgpo_data.sources.record import Prompt, Record
from sgpo_data.sources.shapes import SHAPES
from sgpo_data.sources.turns import says_something, truth

TOOLS = ("tools", "functions")


def prompt(record: Record, binding: Binding) -> Prompt:
    """What this row says.

    An answer that is null or blank is no reference. A blank `system` adds no turn.

    Raises OddRowError, naming the place and what was found, if a value is not what its part must be.
    """
    parts = Parts(record, binding, [])
    found = SHAPES[binding.shape].read(parts)
    messages = _with_system(parts, found.messages)
    if not messages:
        raise parts.row.odd("no turn before the answer")
    if messages[-1]["role"] not in ("user", "tool"):
        raise parts.row.odd("the turn to be answered is of {}, not user or tool", role(messages[-1]["role"]))
    if not messages[-1]["content"].strip():
        raise parts.row.odd("the prompt is empty{}", Wording(f" (found {messages[-1]['content']!r})", ""))
    _offer_no_tools(parts, messages)
    read = _labelled(parts, replace(found, messages=messages, reference=_filled(found.reference)))
    return replace(read, unread=tuple(dict.fromkeys(parts.unread)))


def _filled(answer: str | None) -> str | None:
    return answer if answer is not None and answer.strip() else None


def _offer_no_tools(parts: Parts, messages: list[Message]) -> None:
    """Tools that nothing calls are not read, and named."""
    tools = [name for name in parts.unread if name.rpartition(".")[2] in TOOLS]
    if says_something(parts.value("tools")):
        tools.append(parts.binding.columns["tools"])
    if tools and any(message["role"] == "tool" for message in messages):
        raise parts.row.inside(tools[-1]).odd("offers tools, which are not read, and a turn holds the result of one")
    parts.unread.extend(tools)


def _labelled(parts: Parts, found: Prompt) -> Prompt:
    """A false label makes the only answer the rejected one."""
    # https://huggingface.co/docs/trl/kto_trainer: whether the completion is one that is wanted.
    value = parts.value("label")
    if value in (None, ""):
        return found
    if found.reference is None:
        parts.unread.append(parts.binding.columns["label"])
        return found
    wanted = truth(value)
    if wanted is None:
        raise parts.place("label").odd("is {}, not true or false; rename the column if it judges no answer", described(value))
    if wanted:
        return found
    if _filled(found.rejected) is not None:
        raise parts.place("label").odd("is false for an answer that stands beside a rejected one")
    return replace(found, reference=None, rejected=found.reference)


def _with_system(parts: Parts, messages: list[Message]) -> list[Message]:
    if parts.value("system") is None:
        return messages
    system = parts.text("system")
    if not system.strip() or messages[:1] == [Message(role="system", content=system)]:
        return messages
    if messages and messages[0]["role"] == "system":
        column = parts.binding.columns["system"]
        raise parts.row.odd("a system turn in the conversation and another in column {}", Wording(column, column))
    return [Message(role="system", content=system), *messages]
