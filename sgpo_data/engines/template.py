"""A chat template: what it writes around turns, and what it does to them, found out on a probe before anything is generated."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sgpo_data.engines.turns import THOUGHT_END, Span, marked_turns, turn_places
from sgpo_data.errors import ModelError, first_line
from sgpo_data.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

SENTINEL, QUESTION, SYSTEM = "sgpo-data-answer-7f3a", "sgpo-data-question-3c1d", "sgpo-data-system-5e2b"
TODAY = date(2024, 7, 26)
"""The day a template is told that asks for today's; a rendering has to be the same tomorrow."""
DATE_ARGUMENT = "today"
RENDERINGS = 4
"""How often a conversation is rendered again to see whether a template draws lots."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What the template writes around an answer."""

    head: str
    tail: str
    turns: tuple[Span, ...]
    """Where in `head` the text of the turns stands, in the order of the rendering, without white space at its ends; all the rest is the template's own."""


class TokenizerTemplate:
    """The chat template of a tokenizer, with the arguments that a recipe gives it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, place: str, arguments: Mapping[str, object], name: str | None) -> None:
        self._tokenizer = tokenizer
        self._source = _source(tokenizer.chat_template, place=place, name=name)
        self._today = _day(arguments)
        self._last: tuple[list[Message], Frame | None] | None = None
        self._arguments = {key: value for key, value in arguments.items() if key != DATE_ARGUMENT}
        probe = [_turn("user", QUESTION)]
        try:
            text, frame = self._rendered([*probe, _turn("assistant", SENTINEL)]), self._frame(probe)
        except Exception as error:
            # A template is a program of a stranger, and raises what it will.
            raise ModelError(f"{place}: the chat template refuses a question and an answer: {first_line(error)}; mend chat_template.jinja") from error
        if len({text, *(self._rendered([*probe, _turn("assistant", SENTINEL)]) for _ in range(RENDERINGS))}) > 1:
            raise ModelError(f"{place}: the chat template writes another text each time, so that no row could be made again; mend chat_template.jinja")
        if SENTINEL not in text:
            raise ModelError(f"{place}: the chat template loses the text of the answer; mend chat_template.jinja")
        if frame is None:
            raise ModelError(f"{place}: the chat template loses the text of the question, so that all prompts would be the same; mend chat_template.jinja")
        self._probe = frame
        self.head, self.tail = frame.head, frame.tail

    def frame(self, messages: Sequence[Message]) -> Frame | None:
        """What stands before and after an answer to this conversation; None if the template refuses it, or loses one of its turns."""
        # Several answers to one conversation come one after the other.
        if self._last is None or self._last[0] != messages:
            self._last = list(messages), self._whole_frame(messages)
        return self._last[1]

    def _whole_frame(self, messages: Sequence[Message]) -> Frame | None:
        try:
            return self._frame(messages) if messages else None
        except Exception:
            # transformers refuses an empty conversation, and a template trips over types and numbers of its own accord.
            return None

    def written(self, messages: Sequence[Message], answer: str, frame: Frame) -> str | None:
        """The answer as the template writes it: as it stands, or without white space at its ends; None if otherwise."""
        head, tail = frame.head, frame.tail
        try:
            text = self._rendered([*messages, _turn("assistant", answer)])
        except Exception:
            return None
        if not (text.startswith(head) and text.endswith(tail) and len(text) >= len(head) + len(tail)):
            return None
        body = text[len(head) : len(text) - len(tail)]
        return body if body.strip() == answer.strip() else None

    @property
    def keeps_reasoning(self) -> bool:
        """Whether the reasoning at the beginning of an answer is written as it stands."""
        return self.written([_turn("user", QUESTION)], f"<think>\nt\n{THOUGHT_END}\n\n{SENTINEL}", self._probe) is not None

    @property
    def system_fault(self) -> str | None:
        """What it does to a system turn, None if it writes it."""
        return next(self._system(), None)

    def warnings(self, *, has_end: bool, end: str) -> Iterator[str]:
        """What the template does that its user would not expect, a sentence each."""
        yield from self._beginning()
        if not has_end:
            yield f"the chat template writes no end of turn after an answer, so a model trained on it would never stop; {end} ends them here, trained ones too"
        elif added := self.tail.partition(end)[0].strip():
            yield f"the chat template writes {added!r} between an answer and its end of turn; a model trained on it writes that too, as a part of its answers"
        yield from self._system()
        if not self.keeps_reasoning:
            yield f"the chat template leaves the reasoning before {THOUGHT_END} out of answers; here it stays, in generation, scoring and training alike"
        if self._dated():
            yield (
                f"the chat template writes today's date, so that rows would differ by the day; it is told {self._today:%Y-%m-%d}; "
                f"set another with template.{DATE_ARGUMENT}"
            )

    def _beginning(self) -> Iterator[str]:
        try:
            prompt = self._rendered([_turn("user", QUESTION)], add_generation_prompt=True)
        except Exception as error:
            yield f"the chat template refuses a question that is still to be answered: {first_line(error)}; prompts are written as before an answer here"
            return
        if prompt.rstrip() == self.head.rstrip():
            return
        if self.head.startswith(prompt):
            yield f"the generation prompt of the chat template lacks {self.head[len(prompt) :]!r}, which it writes before an answer; prompts end with it here"
        elif prompt.startswith(self.head):
            yield f"the generation prompt of the chat template ends with {prompt[len(self.head) :]!r}, which it leaves out of answers; prompts end before it"
        else:
            yield "the chat template writes a prompt otherwise with its generation prompt than before an answer; prompts are written as before an answer here"

    def _system(self) -> Iterator[str]:
        turns = [_turn("system", SYSTEM), _turn("user", QUESTION), _turn("assistant", SENTINEL)]
        try:
            text = self._rendered(turns)
        except Exception as error:
            yield f"the chat template refuses a system turn: {first_line(error)}; prompts with one are rows that say refused"
        else:
            if SYSTEM not in text:
                yield "the chat template leaves the system turn out; prompts with one are rows that say refused"

    def _dated(self) -> bool:
        turns = [_turn("user", QUESTION), _turn("assistant", SENTINEL)]
        return self._rendered(turns, today=date(2001, 2, 3)) != self._rendered(turns, today=date(2022, 11, 30))

    def _frame(self, messages: Sequence[Message]) -> Frame | None:
        turns = [*messages, _turn("assistant", SENTINEL)]
        text = self._rendered(turns)
        marked, marks = marked_turns(turns)
        places = turn_places(text, self._rendered(marked), marks)
        if not places:
            return None
        *before, (start, stop) = places
        return Frame(text[:start], text[stop:], tuple(before)) if text[start:stop] == SENTINEL else None

    def _rendered(self, messages: Sequence[Message], *, add_generation_prompt: bool = False, today: date | None = None) -> str:
        day = datetime.combine(today or self._today, datetime.min.time())
        turns = [{"role": message["role"], "content": message["content"]} for message in messages]
        arguments: dict[str, Any] = {"strftime_now": day.strftime, **self._arguments}
        text = self._tokenizer.apply_chat_template(turns, chat_template=self._source, tokenize=False, add_generation_prompt=add_generation_prompt, **arguments)
        return str(text)


def _source(templates: str | dict[str, str] | None, *, place: str, name: str | None) -> str:
    if not templates:
        raise ModelError(f"{place}: the tokenizer has no chat template; add chat_template.jinja to the folder")
    named = {"default": templates} if isinstance(templates, str) else templates
    if name is None and len(named) == 1 and "default" not in named:
        (only,) = named
        log.info("%s: its only chat template is named %s and is taken", place, only)
        return named[only]
    if (name or "default") not in named:
        listed = ", ".join(sorted(named))
        asked = f"no chat template is named {name}" if name else "none of its chat templates is named default"
        raise ModelError(f"{place}: {asked}; choose one with template_name: {listed}")
    return named[name or "default"]


def _day(arguments: Mapping[str, object]) -> date:
    asked = arguments.get(DATE_ARGUMENT)
    if asked is None:
        return TODAY
    try:
        return date.fromisoformat(str(asked))
    except ValueError as error:
        raise ModelError(f"template.{DATE_ARGUMENT}: {asked} is no date; write it as 2026-01-31") from error


def _turn(role: str, content: str) -> Message:
    return Message(role=role, content=content)
