"""The answers of the toy world: written to a task, more or less obediently, and repaired."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sgpo_data.toy.tasks import Task
from sgpo_data.toy.words import CLOSINGS, COUNTS, KIND_OF, KINDS, OPENINGS, SEPARATORS


@dataclass(frozen=True)
class Answer:
    """A list with its opening and closing, as in `Here you are: 1 apple, 2 fig*. Good luck.`"""

    opening: str
    items: tuple[str, ...]
    separator: str
    """By name, as in a task."""
    star: int | None
    """The index of the item with a star after it."""
    closing: str

    @property
    def text(self) -> str:
        """The answer in words."""
        items = [f"{number} {item}*" if number - 1 == self.star else f"{number} {item}" for number, item in enumerate(self.items, 1)]
        return f"{self.opening}: {SEPARATORS[self.separator].join(items)}. {self.closing}."


def write(task: Task, rng: random.Random, *, broken: frozenset[str] = frozenset()) -> Answer:
    """An answer to the task that breaks the named constraints and keeps the others; what is not asked is drawn."""
    items = _in_order(_items(task, rng, broken), task, rng, broken)
    return Answer(
        opening=_pick(task.opening, OPENINGS, rng, wrong="opening" in broken),
        items=items,
        separator=_pick(task.separator, tuple(SEPARATORS), rng, wrong="separator" in broken),
        star=_star(task, len(items), rng, wrong="mark" in broken),
        closing=_pick(task.closing, CLOSINGS, rng, wrong="closing" in broken),
    )


def repaired(draft: Answer, task: Task, reference: Answer) -> Answer:
    """The draft with no more changed than the task asks: its own items stay, missing ones come from the reference."""
    items = [item for item in dict.fromkeys(draft.items) if KIND_OF.get(item) == task.kind]
    spare = [item for item in reference.items if item not in items]
    if task.include and task.include not in items:
        items = [*items[: task.count - 1], task.include]
        spare = [item for item in spare if item != task.include]
    while len(items) > task.count:
        items.remove(next(item for item in reversed(items) if item != task.include))
    items = [*items, *spare[: task.count - len(items)]]
    if task.order:
        items.sort(reverse=task.order != "alphabetical")
    return Answer(
        opening=task.opening or draft.opening,
        items=tuple(items),
        separator=task.separator or draft.separator,
        star={"first": 0, "last": len(items) - 1, None: None}[task.mark],
        closing=task.closing or draft.closing,
    )


def _items(task: Task, rng: random.Random, broken: frozenset[str]) -> list[str]:
    count = task.count
    if "count" in broken:
        count = rng.choice([other for other in range(COUNTS.start - 1, COUNTS.stop + 1) if other != task.count and abs(other - task.count) <= 2])
    words = [word for word in KINDS[task.kind] if word != task.include]
    items = rng.sample(words, count)
    if task.include and "include" not in broken:
        items[rng.randrange(count)] = task.include
    if "kind" in broken:
        strangers = [word for word in KIND_OF if KIND_OF[word] != task.kind]
        places = [index for index, item in enumerate(items) if item != task.include]
        for index in rng.sample(places, rng.choice((1, 1, 2))):
            items[index] = rng.choice(strangers)
    if "count" in broken and rng.random() < 0.3:
        items[rng.randrange(count)] = items[0] if items[0] != task.include else items[-1]
    return items


def _in_order(items: Sequence[str], task: Task, rng: random.Random, broken: frozenset[str]) -> tuple[str, ...]:
    if not task.order:
        return tuple(items)
    ordered = sorted(items, reverse=task.order != "alphabetical")
    if "order" not in broken:
        return tuple(ordered)
    shuffled = ordered
    while shuffled == ordered:
        shuffled = rng.sample(ordered, len(ordered))
        if rng.random() < 0.4:
            first = rng.randrange(len(ordered) - 1)
            shuffled = [*ordered[:first], ordered[first + 1], ordered[first], *ordered[first + 2 :]]
    return tuple(shuffled)


def _pick(asked: str | None, choices: Sequence[str], rng: random.Random, *, wrong: bool) -> str:
    if asked and not wrong:
        return asked
    return rng.choice([choice for choice in choices if choice != asked])


def _star(task: Task, count: int, rng: random.Random, *, wrong: bool) -> int | None:
    if not task.mark:
        return None
    right = 0 if task.mark == "first" else count - 1
    if not wrong:
        return right
    return rng.choice([None, None, *(index for index in range(count) if index != right)])
