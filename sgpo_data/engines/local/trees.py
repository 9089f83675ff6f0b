"""Prompts with the answers that follow them, as ids, and batches of them under a budget of tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Tree:
    """A prompt and some of the answers to it."""

    request: int
    """Its place among the requests of the window."""
    far: bool
    """Whether its answers end beyond the positions from which on the model turns all of a row otherwise."""
    prompt: list[int]
    answers: tuple[tuple[int, list[int]], ...]
    """Each with its place among the answers of the request."""

    @property
    def tokens(self) -> int:
        """Tokens to be computed: the last of an answer is only ever predicted, so it is not fed."""
        return len(self.prompt) + sum(len(ids) - 1 for _, ids in self.answers)

    def single(self) -> list[Tree]:
        """The same answers, each with a prompt of its own."""
        return [replace(self, answers=(answer,)) for answer in self.answers]


def packed(trees: Iterable[Tree], budget: int, *, enough: float = math.inf) -> list[list[Tree]]:
    """Batches of trees to be laid end to end, in their order; none is filled beyond `enough` tokens.

    Each is within the budget, but of one answer at least; a tree that does not fit by itself is cut, and its prompt is in each piece.
    """
    batches: list[list[Tree]] = []
    tokens = 0
    for piece in (piece for tree in sorted(trees, key=lambda tree: tree.far) for piece in _cut(tree, budget)):
        tokens += piece.tokens
        if batches and tokens <= min(budget, enough) and batches[-1][0].far == piece.far:
            batches[-1].append(piece)
        else:
            batches.append([piece])
            tokens = piece.tokens
    return batches


def padded(trees: Iterable[Tree], budget: int) -> list[list[Tree]]:
    """Batches of trees of one answer, to be padded to the longest of the batch: those of like length together, the longest first.

    Each is within the budget, padding included, but of one answer at least.
    """
    batches: list[list[Tree]] = []
    for one in sorted((one for tree in trees for one in tree.single()), key=lambda one: (one.far, one.tokens), reverse=True):
        if batches and batches[-1][0].tokens * (len(batches[-1]) + 1) <= budget and batches[-1][0].far == one.far:
            batches[-1].append(one)
        else:
            batches.append([one])
    return batches


def _cut(tree: Tree, budget: int) -> list[Tree]:
    pieces: list[Tree] = []
    for one in [tree] if tree.tokens <= budget else tree.single():
        joined = replace(pieces[-1], answers=pieces[-1].answers + one.answers) if pieces else one
        if pieces and joined.tokens <= budget:
            pieces[-1] = joined
        else:
            pieces.append(one)
    return pieces


def starts(lengths: Sequence[int]) -> list[int]:
    """Where each piece begins if they are laid end to end."""
    return [0, *accumulate(lengths)][:-1]
