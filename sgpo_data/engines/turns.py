"""Where the text of each turn stands in a rendered conversation, told by a mark that is put into every turn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sgpo_data.rows import Message

THOUGHT_BEGIN, THOUGHT_END = "<think>", "</think>"
MARKS = range(0xF0000, 0xFFFFE)
"""Characters for private use: of no script, no case and no width, so that a template does to a turn with one what it does to the turn."""

Span = tuple[int, int]
"""Begin and end in a text."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A character put into a text of a turn."""

    before: str
    """The text up to the mark, without white space at its begin."""
    after: str
    needed: bool
    """Whether a template that leaves the text out loses the turn: reasoning of an earlier answer is left out by design."""


def marked_turns(messages: Sequence[Message]) -> tuple[list[Message], dict[str, Mark]]:
    """The conversation with a mark in the middle of every text of it, so that what a template looks for in a turn is found as before.

    Raises ValueError if no character is left for a mark.
    """
    used = set().union(*(message["content"] for message in messages))
    unused = (character for character in map(chr, MARKS) if character not in used)
    turns: list[Message] = []
    marks: dict[str, Mark] = {}

    def put(text: str, *, needed: bool) -> str:
        core = text.strip()
        if not (core or needed):
            return text
        # At the end of one that is white space: templates strip the begin of what follows reasoning.
        at, mark = text.find(core) + _middle(core) if core else len(text), next(unused, None)
        if mark is None:
            raise ValueError(f"a conversation has more than {len(MARKS)} texts, or all characters for private use")
        marks[mark] = Mark(text[:at].lstrip(), text[at:].rstrip(), needed)
        return text[:at] + mark + text[at:]

    for message in messages:
        content = message["content"]
        thought, end, answer = content.rpartition(THOUGHT_END) if message["role"] == "assistant" else ("", "", content)
        opening, begin, reasoning = thought.rpartition(THOUGHT_BEGIN)
        # A system turn without a word says nothing that a template could lose.
        content = (
            put(opening, needed=False) + begin + put(reasoning, needed=False) + end + put(answer, needed=bool(answer.strip()) or message["role"] != "system")
        )
        turns.append(Message(role=message["role"], content=content))
    return turns, marks


def turn_places(text: str, marked: str, marks: Mapping[str, Mark]) -> list[Span] | None:
    """Where the turns stand in a rendering, given the rendering of the same turns with their marks; None if one is lost, cut or changed.

    A template may write a turn in other case, more than once, or elsewhere than in its order.
    """
    found = list(re.finditer(f"[{''.join(marks)}]", marked))
    if {mark for mark, each in marks.items() if each.needed} - {match[0] for match in found}:
        return None
    if re.sub(f"[{''.join(marks)}]", "", marked) != text:
        return None
    places = []
    for earlier, match in enumerate(found):
        at, mark = match.start() - earlier, marks[match[0]]
        before = next((len(form) for form in _forms(mark.before) if _same(text[max(at - len(form), 0) : at], form)), None)
        after = next((len(form) for form in _forms(mark.after) if _same(text[at : at + len(form)], form)), None)
        if before is None or after is None:
            return None
        places.append((at - before, at + after))
    return places


def _middle(text: str) -> int:
    """A place between two words, so that a word that a template looks for stays whole."""
    middle = len(text) // 2
    between = text.rfind(" ", 0, middle + 1)
    between = text.find(" ") if between < 0 else between
    return middle if between < 0 else between


def _forms(text: str) -> tuple[str, str, str]:
    """Some letters become two in other case."""
    return text, text.upper(), text.lower()


def _same(one: str, other: str) -> bool:
    return one == other or one.casefold() == other.casefold()
