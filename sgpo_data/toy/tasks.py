"""A request of the toy world: its constraints, its words, and the way back from the words to the constraints."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sgpo_data.errors import DatasetError
from sgpo_data.rows import Message
from sgpo_data.toy.words import CLOSINGS, COUNTS, KINDS, OPENINGS, SEPARATORS

MARKS = ("first", "last")
OPTIONAL = ("separator", "include", "mark", "opening", "closing")


@dataclass(frozen=True)
class Task:
    """What a request asks of a list; None is not asked for."""

    kind: str
    count: int
    separator: str | None = None
    """By name: commas, semicolons, slashes or dashes."""
    include: str | None = None
    mark: str | None = None
    """Which item has a star after it: first or last."""
    opening: str | None = None
    closing: str | None = None

    @property
    def constraints(self) -> tuple[str, ...]:
        """The names of the fields that are asked for: 3 to 5 of them as `draw` gives a task, one more at most by a follow-up."""
        return ("kind", "count", *(name for name in OPTIONAL if getattr(self, name) is not None))


def draw(rng: random.Random) -> Task:
    """A task with one to three constraints beside kind and count."""
    kind = rng.choice(tuple(KINDS))
    count = rng.choice(COUNTS)
    separator = rng.choice(tuple(SEPARATORS))
    include = rng.choice(KINDS[kind])
    mark = rng.choice(MARKS)
    opening = rng.choice(OPENINGS)
    closing = rng.choice(CLOSINGS)
    asked = rng.sample(OPTIONAL, rng.choice((1, 2, 2, 3, 3)))
    if "include" not in asked and rng.random() < 0.4:
        asked[0] = "include"
    return Task(
        kind=kind,
        count=count,
        separator=separator if "separator" in asked else None,
        include=include if "include" in asked else None,
        mark=mark if "mark" in asked else None,
        opening=opening if "opening" in asked else None,
        closing=closing if "closing" in asked else None,
    )


def request(task: Task, rng: random.Random) -> str:
    """The task in words: one sentence for the list itself, one for each of its details."""
    verb = rng.choice(("Name", "List", "Write"))
    separator = f" separated by {task.separator}" if task.separator else ""
    return " ".join([f"{verb} {task.count} {task.kind}{separator}.", *details(task, rng)])


def details(task: Task, rng: random.Random) -> list[str]:
    """The constraints that are sentences of their own, in any order."""
    sentences = []
    if task.include:
        sentences.append(f"Include {task.include}.")
    if task.mark:
        sentences.append(f"Put a star after the {task.mark} one.")
    if task.opening:
        sentences.append(f'Open with "{task.opening}".')
    if task.closing:
        sentences.append(f'Close with "{task.closing}".')
    return rng.sample(sentences, len(sentences))


def follow_up(task: Task, rng: random.Random) -> tuple[Task, str]:
    """A task that differs from this one in one constraint, and the turn that asks for the difference."""
    if rng.random() < 0.5:
        count = rng.choice([count for count in COUNTS if count != task.count])
        return replace(task, count=count), f"Now the same with {count} items."
    separator = rng.choice([name for name in SEPARATORS if name != task.separator])
    return replace(task, separator=separator), f"Now the same separated by {separator}."


_CLAUSES = {
    "kind": re.compile(rf"\b\d+ ({'|'.join(KINDS)})\b"),
    "count": re.compile(rf"\b(\d+) (?:{'|'.join(KINDS)}|items)\b"),
    "separator": re.compile(rf"\bseparated by ({'|'.join(SEPARATORS)})\b"),
    "include": re.compile(r"\bInclude (\w+)\."),
    "mark": re.compile(r"\bPut a star after the (first|last) one\b"),
    "opening": re.compile(r'\bOpen with "([^"]+)"'),
    "closing": re.compile(r'\bClose with "([^"]+)"'),
}


def parse(messages: Sequence[Message]) -> Task:
    """The task that these messages ask for: system and user turns in order, a later clause over an earlier one.

    Raises DatasetError if no turn asks for a list.
    """
    found: dict[str, str] = {}
    for message in messages:
        if message["role"] == "assistant":
            continue
        for name, clause in _CLAUSES.items():
            if match := clause.search(message["content"]):
                found[name] = match[1]
    if "kind" not in found or "count" not in found:
        raise DatasetError(f"toy: no request for a list in {messages[-1]['content'][:80]!r}; take prompts of `python -m sgpo_data.toy prompts`")
    return Task(kind=found.pop("kind"), count=int(found.pop("count")), **found)
