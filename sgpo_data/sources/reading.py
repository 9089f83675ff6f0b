"""What a raw row of a known shape says: a conversation up to the turn to be answered, and the answers that came with it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args

from sgpo_data.rows import Message
from sgpo_data.sources.odd_row import Place, Wording, described, role
from sgpo_data.sources.shapes import PARTS, REQUIRED, Binding, Prompt, Record, ShapeName
from sgpo_data.sources.turns import Turn, read_history, read_text, read_transcript, read_turns, truth

TOOLS = ("tools", "functions")
PASSAGES = ("context", "passage")
"""Columns that hold one text in some sets, and lists of titles and sentences in others."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def prompt(record: Record, binding: Binding) -> Prompt:
    """What this row says.

    An answer that is null or blank is no reference. A blank `system` adds no turn.

    Raises OddRowError, naming the place and what was found, if a value is not what its part must be.
    """
    parts = _Parts(record, binding, [])
    found = _READERS[binding.shape](parts)
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


@dataclass(frozen=True, slots=True)
class _Parts:
    """The values of a row by part, each checked as it is read."""

    record: Record
    binding: Binding
    unread: list[str]
    """What of the row is not read; added to as it is met."""

    @property
    def row(self) -> Place:
        return Place(self.record.place)

    def value(self, part: str) -> object:
        """None if no column gives it, or the column is null."""
        return self.record.values.get(self.binding.columns[part]) if part in self.binding.columns else None

    def text(self, part: str) -> str:
        return read_text(self.value(part), self.place(part))

    def optional(self, part: str) -> str:
        """Its text; the empty one if no column gives it, or the column is null. A context that is no text is not read, and named."""
        value = self.value(part)
        if value is not None and not isinstance(value, str) and self.binding.columns[part] in PASSAGES:
            self.unread.append(self.binding.columns[part])
            return ""
        return "" if value is None else self.text(part)

    def turns(self, part: str) -> list[Turn]:
        return self.turns_of(part, self.value(part))

    def turns_of(self, part: str, value: object) -> list[Turn]:
        found = read_turns(value, self.place(part))
        self.unread.extend(f"{self.binding.columns[part]}.{key}" for turn in found for key in turn.unread)
        return found

    def history(self) -> list[Message]:
        value = self.value("history")
        return [] if value is None else list(read_history(value, self.place("history")))

    def answer(self, part: str) -> str | None:
        """Given as text, or as a list of one assistant turn."""
        value = self.value(part)
        if value is None:
            return None
        if not isinstance(value, list):
            return self.text(part)
        turns = self.turns(part)
        if len(turns) != 1 or turns[0].message["role"] != "assistant":
            roles = ", ".join(turn.message["role"] for turn in turns)
            raise self.place(part).odd("has the roles {}, not one assistant turn", Wording(roles, "of other turns"))
        return turns[0].learned

    def place(self, part: str) -> Place:
        return self.row.inside(self.binding.columns.get(part, part))


def _filled(answer: str | None) -> str | None:
    return answer if answer is not None and answer.strip() else None


def _offer_no_tools(parts: _Parts, messages: list[Message]) -> None:
    """Tools that nothing calls are not read, and named."""
    tools = [name for name in parts.unread if name.rpartition(".")[2] in TOOLS]
    if parts.value("tools"):
        tools.append(parts.binding.columns["tools"])
    if tools and any(message["role"] == "tool" for message in messages):
        raise parts.row.inside(tools[-1]).odd("offers tools, which are not read, and a turn holds the result of one")
    parts.unread.extend(tools)


def _labelled(parts: _Parts, found: Prompt) -> Prompt:
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


def _from_messages(parts: _Parts) -> Prompt:
    turns = parts.turns("messages")
    messages = [turn.message for turn in turns]
    if messages[-1]["role"] == "assistant":
        return Prompt(messages[:-1], turns[-1].learned, parts.answer("rejected"))
    return Prompt(messages, parts.answer("reference"), parts.answer("rejected"))


def _from_prompt(parts: _Parts) -> Prompt:
    turns = [*parts.history(), *_prompt_turns(parts)]
    if context := parts.optional("context").strip():
        turns[-1] = Message(role=turns[-1]["role"], content=f"{context}\n\n{turns[-1]['content']}")
    return Prompt(turns, parts.answer("reference"), parts.answer("rejected"))


def _from_instruction(parts: _Parts) -> Prompt:
    # https://github.com/tatsu-lab/stanford_alpaca: an input is optional, and the empty text where there is none.
    given, instruction = parts.optional("input"), parts.text("instruction")
    text = f"{instruction}\n\n{given}" if given.strip() else instruction
    return Prompt([*parts.history(), Message(role="user", content=text)], parts.answer("output"), None)


def _from_question(parts: _Parts) -> Prompt:
    context, choices = parts.optional("context"), _choices(parts)
    lines = [parts.text("question"), *(f"{label}. {text}" for label, text in choices.items())]
    question = "\n".join(lines)
    return Prompt([Message(role="user", content=f"{context}\n\n{question}" if context.strip() else question)], _answered(parts, choices), None)


def _choices(parts: _Parts) -> dict[str, str]:
    """The texts to choose from by their labels: a list, or lists of texts and labels."""
    value, place = parts.value("choices"), parts.place("choices")
    if value is None:
        return {}
    texts, labels = (value.get("text"), value.get("label")) if isinstance(value, Mapping) else (value, None)
    if not isinstance(texts, list) or len(texts) > len(LETTERS):
        raise place.odd("is {}, not a list of texts", described(value))
    if not isinstance(labels, list):
        labels = list(LETTERS[: len(texts)])
    if len(labels) != len(texts):
        raise place.odd("has {}", Wording(f"{len(texts)} texts and {len(labels)} labels", "other numbers of texts and labels"))
    named = {read_text(str(label), place): read_text(text, place) for label, text in zip(labels, texts, strict=True)}
    if len(named) != len(texts):
        raise place.odd("has the same label twice")
    return named


def _answered(parts: _Parts, choices: Mapping[str, str]) -> str | None:
    """The answer as text: of several given ones the first, of a choice its label and text."""
    value = parts.value("answer")
    if isinstance(value, Mapping):
        value = value.get("text")
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = value[0] if value else None
    if choices and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        value = list(choices)[value]
    if isinstance(value, str) and value in choices:
        return f"{value}. {choices[value]}"
    return None if value is None else read_text(value, parts.place("answer")) if isinstance(value, str) else parts.answer("answer")


def _from_preference(parts: _Parts) -> Prompt:
    chosen, rejected = parts.value("chosen"), parts.value("rejected")
    if isinstance(chosen, str) and "prompt" not in parts.binding.columns:
        both = read_transcript(parts.text("chosen")), read_transcript(parts.text("rejected"))
        if both[0] is None or both[1] is None:
            raise parts.row.odd("chosen is {} and there is no prompt column", described(chosen))
        return _from_conversations(parts, *([Turn(message, target=True, unread=()) for message in messages] for messages in both if messages))
    if not isinstance(chosen, list):
        return Prompt(_prompt_turns(parts), parts.text("chosen"), parts.text("rejected"))
    return _from_conversations(parts, parts.turns_of("chosen", chosen), parts.turns_of("rejected", rejected))


def _from_conversations(parts: _Parts, chosen: list[Turn], rejected: list[Turn]) -> Prompt:
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if turns[-1].message["role"] != "assistant":
            raise parts.row.odd(f"{name} ends with a turn of {{}}, not assistant", role(turns[-1].message["role"]))
    before = [turn.message for turn in chosen[:-1]]
    if before != [turn.message for turn in rejected[:-1]]:
        raise parts.row.odd("chosen and rejected differ before their last turn{}", Wording(f" ({len(chosen)} and {len(rejected)} turns)", ""))
    # Conversations in full hold the prompt themselves; a prompt column beside them is often its last turn only.
    given = "prompt" in parts.binding.columns or isinstance(parts.value("input"), Mapping)
    return Prompt(before or (_prompt_turns(parts) if given else []), chosen[-1].learned, rejected[-1].learned)


_READERS = {
    "preference": _from_preference,
    "messages": _from_messages,
    "instruction": _from_instruction,
    "question": _from_question,
    "prompt": _from_prompt,
}
assert set(_READERS) == set(PARTS) == set(REQUIRED) == set(get_args(ShapeName))


def _prompt_turns(parts: _Parts) -> list[Message]:
    given = parts.value("input")
    if isinstance(given, Mapping) and "messages" in given:
        # https://platform.openai.com/docs/guides/direct-preference-optimization: the prompt stands in `input`.
        parts.unread.extend(f"{parts.binding.columns['input']}.{key}" for key, value in given.items() if key != "messages" and value)
        return [turn.message for turn in parts.turns_of("input", given["messages"])]
    if isinstance(parts.value("prompt"), list):
        return [turn.message for turn in parts.turns("prompt")]
    text, more = parts.text("prompt"), parts.optional("input")
    return [Message(role="user", content=f"{text}\n\n{more}" if more.strip() else text)]


def _with_system(parts: _Parts, messages: list[Message]) -> list[Message]:
    if parts.value("system") is None:
        return messages
    system = parts.text("system")
    if not system.strip() or messages[:1] == [Message(role="system", content=system)]:
        return messages
    if messages and messages[0]["role"] == "system":
        column = parts.binding.columns["system"]
        raise parts.row.odd("a system turn in the conversation and another in column {}", Wording(column, column))
    return [Message(role="system", content=system), *messages]
