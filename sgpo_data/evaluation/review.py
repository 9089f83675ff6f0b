"""A review: comparisons drawn, put in an order and on sides that tell nothing of who wrote what, and known by a digest."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import orjson

from sgpo_data.errors import DatasetError
from sgpo_data.evaluation.answer_pairs import AnswerPair, AnswerPairs
from sgpo_data.rows import Message


@dataclass(frozen=True)
class Item:
    """A comparison as it is shown."""

    id: str
    pair: AnswerPair
    a_is_first: bool

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation that is answered."""
        return self.pair.messages

    @property
    def answers(self) -> tuple[str, str]:
        """As they are shown, first and second."""
        both = self.pair.a, self.pair.b
        return both if self.a_is_first else both[::-1]


@dataclass(frozen=True)
class Review:
    """The items in the order they are shown in. Neither their order nor their sides nor their ids depend on which answers are called `a`."""

    items: tuple[Item, ...]
    most: int
    """Items that were asked for."""
    seed: int

    @cached_property
    def digest(self) -> str:
        """32 hex digits over all that is shown: what votes belong to."""
        shown = [[item.id, item.messages, item.answers] for item in self.items]
        return hashlib.sha256(orjson.dumps(shown)).hexdigest()[:32]


def review(found: AnswerPairs, *, items: int, seed: int) -> Review:
    """As many items as there are, at most `items`: drawn by the seed, from kept and dropped rows in equal numbers as far as there are both.

    Raises DatasetError if there is nothing to compare.
    """
    if not found.pairs:
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
        raise DatasetError(f"{', '.join(record.reference for record in found.inputs)}: nothing to compare ({reasons or 'no rows'})")
    groups: dict[str | None, list[tuple[str, Item]]] = {}
    for pair in found.pairs:
        drawn = _item(pair, seed)
        groups.setdefault(pair.group, []).append(drawn)
    ranked = [sorted(group, key=lambda each: each[0]) for group in groups.values()]
    chosen = sorted(_in_turn(ranked, items), key=lambda each: each[0])
    return Review(tuple(item for _, item in chosen), items, seed)


def _in_turn(groups: list[list[tuple[str, Item]]], most: int) -> Iterable[tuple[str, Item]]:
    """The first of each group, the second of each, and so on."""
    placed = [(place, rank, item) for group in groups for place, (rank, item) in enumerate(group)]
    return [(rank, item) for _, rank, item in sorted(placed, key=lambda each: each[:2])[:most]]


def _item(pair: AnswerPair, seed: int) -> tuple[str, Item]:
    """Its rank and itself; the rank is a digest, and so is the side."""
    first, second = sorted((pair.a, pair.b))
    name = hashlib.sha256(orjson.dumps([*pair.key, first, second])).hexdigest()[:16]
    rank = hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()
    return rank, Item(name, pair, a_is_first=(pair.a == first) == (int(rank[-1], 16) % 2 == 0))
