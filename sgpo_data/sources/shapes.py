"""The shapes of raw rows: what each is known by, and how its parts become a conversation and its answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from sgpo_data.rows import Message
from sgpo_data.sources.odd_row import Wording, described, role
from sgpo_data.sources.parts import Parts
from sgpo_data.sources.record import Prompt
from sgpo_data.sources.turns import SourceTurn, read_open_transcript, read_text, read_transcript

ShapeName = Literal["preference", "messages", "instruction", "question", "prompt"]
LABELS = ("label", "kto_tag")
"""What TRL and LLaMA-Factory call whether an answer is a good one."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class RowShape:
    """What a row of one kind is made of."""

    read: Callable[[Parts], Prompt]
    """Raises OddRowError if a value is not what its part must be."""
    required: tuple[str, ...]
    """Parts that must be there."""
    parts: Mapping[str, tuple[str, ...]]
    """The column names that each part is known by."""
    decisive: bool = False
    """Whether a row it fits is of it whatever else fits; of two such, the first of `SHAPES`."""

    def fits(self, columns: Sequence[str], given: Mapping[str, str]) -> bool:
        """Whether these columns are a row of it, `given` being those that some parts are read from."""
        named = all(part in self.parts for part in given)
        return named and all(part in given or not set(self.parts[part]).isdisjoint(columns) for part in self.required)

    def __str__(self) -> str:
        """What it needs, for messages."""
        return " and ".join(" or ".join(self.parts[part]) for part in self.required)


def _from_messages(parts: Parts) -> Prompt:
    turns = parts.turns("messages")
    messages = [turn.message for turn in turns]
    if messages[-1]["role"] == "assistant":
        return Prompt(messages[:-1], turns[-1].learned, parts.answer("rejected"))
    return Prompt(messages, parts.answer("reference"), parts.answer("rejected"))


def _from_prompt(parts: Parts) -> Prompt:
    turns = [*parts.history(), *_prompt_turns(parts)]
    if context := parts.optional("context").strip():
        turns[-1] = Message(role=turns[-1]["role"], content=f"{context}\n\n{turns[-1]['content']}")
    return _trimmed(parts, Prompt(turns, parts.answer("reference"), parts.answer("rejected")))


def _from_instruction(parts: Parts) -> Prompt:
    # https://github.com/tatsu-lab/stanford_alpaca: an input is optional, and the empty text where there is none.
    given, instruction = parts.optional("input"), parts.text("instruction")
    text = f"{instruction}\n\n{given}" if given.strip() else instruction
    return Prompt([*parts.history(), Message(role="user", content=text)], parts.answer("output"), None)


def _from_question(parts: Parts) -> Prompt:
    context, choices = parts.optional("context"), _choices(parts)
    lines = [parts.text("question"), *(f"{label}. {text}" for label, text in choices.items())]
    question = "\n".join(lines)
    return Prompt([Message(role="user", content=f"{context}\n\n{question}" if context.strip() else question)], _answered(parts, choices), None)


def _choices(parts: Parts) -> dict[str, str]:
    """The texts to choose from by their labels: a list, lists of texts and labels, or an object with a text to each label."""
    value, place = parts.value("choices"), parts.place("choices")
    if value is None:
        return {}
    texts, labels = value, None
    if isinstance(value, Mapping):
        # A Parquet column has the labels of all its rows, null where a row has fewer.
        named = {label: text for label, text in value.items() if text is not None}
        texts, labels = (value["text"], value.get("label")) if "text" in value else ([*named.values()], [*named])
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


def _answered(parts: Parts, choices: Mapping[str, str]) -> str | None:
    """The answer as text: of several given ones the first, of a choice its label and text."""
    value = _text_of_answer(parts, parts.value("answer"))
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        if len(set(value)) > 1:
            parts.unread.append(f"{parts.binding.columns['answer']} after the first")
        value = value[0] if value else None
    if choices and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        value = list(choices)[value]
    if isinstance(value, str) and value in choices:
        return f"{value}. {choices[value]}"
    return None if value is None else read_text(value, parts.place("answer")) if isinstance(value, str) else parts.answer("answer")


def _text_of_answer(parts: Parts, value: object) -> object:
    """Of an object, what it has as its text; what else it holds is named as not read."""
    if not isinstance(value, Mapping):
        return value
    # https://huggingface.co/datasets/mandarjoshi/trivia_qa has the answer under `value`, SQuAD several under `text`.
    filled = {key: held for key, held in value.items() if held not in (None, "", [], {})}
    found = next((key for key in ("text", "value") if key in filled), None)
    if filled and found is None and "text" not in value:
        raise parts.place("answer").odd("is an object without text or value")
    parts.unread.extend(f"{parts.binding.columns['answer']}.{key}" for key in filled if key != found)
    return None if found is None else value[found]


def _from_preference(parts: Parts) -> Prompt:
    chosen, rejected = parts.value("chosen"), parts.value("rejected")
    if isinstance(chosen, str) and "prompt" not in parts.binding.columns:
        both = read_transcript(parts.text("chosen")), read_transcript(parts.text("rejected"))
        if both[0] is None or both[1] is None:
            raise parts.row.odd("chosen is {} and there is no prompt column", described(chosen))
        return _from_conversations(parts, *([SourceTurn(message, target=True, unread=()) for message in messages] for messages in both if messages))
    if not isinstance(chosen, list):
        return _trimmed(parts, Prompt(_prompt_turns(parts), parts.text("chosen"), parts.text("rejected")))
    return _from_conversations(parts, parts.turns_of("chosen", chosen), parts.turns_of("rejected", rejected))


def _from_conversations(parts: Parts, chosen: list[SourceTurn], rejected: list[SourceTurn]) -> Prompt:
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if turns[-1].message["role"] != "assistant":
            raise parts.row.odd(f"{name} ends with a turn of {{}}, not assistant", role(turns[-1].message["role"]))
    before = [turn.message for turn in chosen[:-1]]
    if before != [turn.message for turn in rejected[:-1]]:
        raise parts.row.odd("chosen and rejected differ before their last turn{}", Wording(f" ({len(chosen)} and {len(rejected)} turns)", ""))
    # Conversations in full hold the prompt themselves; a prompt column beside them is often its last turn only.
    given = "prompt" in parts.binding.columns or isinstance(parts.value("input"), Mapping)
    if not before and not given:
        raise parts.row.odd("chosen has no turn before its answer, and no column is known as the prompt; name it with source.columns prompt=...")
    return Prompt(before or _prompt_turns(parts), chosen[-1].learned, rejected[-1].learned)


def _prompt_turns(parts: Parts) -> list[Message]:
    given = parts.value("input")
    if isinstance(given, Mapping) and "messages" in given:
        # https://platform.openai.com/docs/guides/direct-preference-optimization: the prompt stands in `input`.
        parts.unread.extend(f"{parts.binding.columns['input']}.{key}" for key, value in given.items() if key != "messages" and value)
        return [turn.message for turn in parts.turns_of("input", given["messages"])]
    if isinstance(parts.value("prompt"), list):
        return [turn.message for turn in parts.turns("prompt")]
    if (turns := _transcript(parts)) is not None:
        return turns
    text, more = parts.text("prompt"), parts.optional("input")
    return [Message(role="user", content=f"{text}\n\n{more}" if more.strip() else text)]


def _transcript(parts: Parts) -> list[Message] | None:
    """The turns of a prompt that is written as in https://huggingface.co/datasets/Dahoas/full-hh-rlhf: `Human: ... Assistant:`."""
    value = parts.value("prompt")
    return read_open_transcript(value) if isinstance(value, str) and not parts.value("input") else None


def _trimmed(parts: Parts, read: Prompt) -> Prompt:
    """Behind a transcript the space before an answer is that of its mark."""
    if _transcript(parts) is None:
        return read
    reference, rejected = (answer and answer.strip() for answer in (read.reference, read.rejected))
    return replace(read, reference=reference, rejected=rejected)


SHAPES: dict[str, RowShape] = {
    "preference": RowShape(
        _from_preference,
        required=("chosen", "rejected"),
        decisive=True,
        parts={
            "chosen": ("chosen", "preferred_output", "chosen_response"),
            "rejected": ("rejected", "non_preferred_output", "rejected_response"),
            "prompt": ("prompt", "question", "instruction", "conversations"),
            "input": ("input", "context"),
            "history": ("history",),
            "system": ("system", "system_prompt"),
            "tools": ("tools",),
        },
    ),
    "messages": RowShape(
        _from_messages,
        required=("messages",),
        decisive=True,
        parts={
            "messages": ("messages", "conversations", "conversation"),
            "reference": ("reference",),
            "rejected": ("rejected", "rejected_response"),
            "system": ("system", "system_prompt"),
            "tools": ("tools", "functions"),
            "label": LABELS,
        },
    ),
    "instruction": RowShape(
        _from_instruction,
        required=("instruction",),
        parts={
            "instruction": ("instruction",),
            "input": ("input", "context"),
            "output": ("output", "response", "reference"),
            "label": LABELS,
            "history": ("history",),
            "system": ("system", "system_prompt"),
        },
    ),
    "question": RowShape(
        _from_question,
        required=("question",),
        parts={
            "question": ("question",),
            "answer": ("answer", "answers", "answerKey", "response", "reference"),
            "label": ("label",),
            "context": ("context", "passage"),
            "choices": ("choices", "options"),
            "system": ("system", "system_prompt"),
        },
    ),
    "prompt": RowShape(
        _from_prompt,
        required=("prompt",),
        parts={
            "prompt": ("prompt",),
            "reference": ("reference", "response", "completion", "answer"),
            "rejected": ("rejected",),
            "label": LABELS,
            "context": ("context",),
            "history": ("history",),
            "system": ("system", "system_prompt"),
            "tools": ("tools",),
        },
    ),
}
assert tuple(SHAPES) == get_args(ShapeName)

PART_NAMES = tuple(dict.fromkeys(part for shape in SHAPES.values() for part in shape.parts))
KNOWN_COLUMNS = frozenset(name for shape in SHAPES.values() for names in shape.parts.values() for name in names)
