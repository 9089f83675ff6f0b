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
    items = _items(task, rng, broken)
    return Answer(
        opening=_pick(task.opening, OPENINGS, rng, wrong="opening" in broken),
        items=items,
        separator=_pick(task.separator, tuple(SEPARATORS), rng, wrong="separator" in broken),
        star=_star(task, len(items), rng, wrong="mark" in broken),
        closing=_pick(task.closing, CLOSINGS, rng, wrong="closing" in broken),
    )


def repaired(draft: Answer, task: Task, reference: Answer) -> Answer:
    """The draft with no more changed than the task asks: good items keep their places, the reference's stand in for the others."""
    places = dict(enumerate(draft.items[: task.count]))
    kept = {item: place for place, item in reversed(places.items()) if KIND_OF.get(item) == task.kind}
    if task.include and task.include not in kept:
        kept = {item: place for item, place in kept.items() if place != reference.items.index(task.include)}
        kept[task.include] = reference.items.index(task.include)
    items = {place: item for item, place in kept.items()}
    for place, item in enumerate(reference.items):
        if place not in items:
            items[place] = next(spare for spare in (item, *reference.items) if spare not in items.values())
    return Answer(
        opening=task.opening or draft.opening,
        items=tuple(items[place] for place in range(task.count)),
        separator=task.separator or draft.separator,
        star={"first": 0, "last": task.count - 1, None: None}[task.mark],
        closing=task.closing or draft.closing,
    )


def _items(task: Task, rng: random.Random, broken: frozenset[str]) -> tuple[str, ...]:
    count = task.count
    repeats = "count" in broken and rng.random() < 0.3
    if "count" in broken and not repeats:
        count = rng.choice([other for other in range(COUNTS.start - 1, COUNTS.stop + 1) if other != task.count and abs(other - task.count) <= 2])
    words = [word for word in KINDS[task.kind] if word != task.include]
    items = rng.sample(words, count)
    if task.include and "include" not in broken:
        items[rng.randrange(count)] = task.include
    if repeats:
        first, second = rng.sample([place for place, item in enumerate(items) if item != task.include], 2)
        items[second] = items[first]
    if "kind" in broken:
        strangers = [word for word in KIND_OF if KIND_OF[word] != task.kind]
        places = [place for place, item in enumerate(items) if item != task.include]
        for place in rng.sample(places, rng.choice((1, 1, 2)) if len(places) > 1 else 1):
            items[place] = rng.choice(strangers)
    return tuple(items)


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
