"""Two texts as what stayed, went and came, word by word."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance import LCSseq

from sgpo_data.text.words import block, spaced_words

LONGEST_EXACT = 1 << 14
"""Words, with the space between them, up to which the fewest are marked; longer texts go in aligned blocks, since memory grows with the product of lengths."""


@dataclass(frozen=True)
class Piece:
    """A stretch of text."""

    kind: Literal["same", "removed", "added"]
    text: str


def word_diff(before: str, after: str) -> tuple[Piece, ...]:
    """The pieces in their order; those that are not added make `before`, those that are not removed make `after`.

    What went stands before what came in its place, and space between two changes belongs to both.
    """
    found: list[Piece] = []
    removed = added = ""
    for kind, old, new in _changes(before, after):
        if kind == "same" and old.strip() == "" and (removed or added):
            # Held back: two changed words with a space between them are one change.
            removed, added = removed + old, added + new
        elif kind == "same":
            found += _change(removed, added)
            found.append(Piece("same", old))
            removed = added = ""
        else:
            removed, added = removed + old, added + new
    return (*found, *_change(removed, added))


def _changes(before: str, after: str) -> Iterator[tuple[str, str, str]]:
    old, new = spaced_words(before), spaced_words(after)
    blocks = -(-max(len(old), len(new)) // LONGEST_EXACT) or 1
    for at in range(blocks):
        left, right = block(old, at, blocks), block(new, at, blocks)
        for step in LCSseq.opcodes(left, right):
            kind = "same" if step.tag == "equal" else "changed"
            yield kind, "".join(left[step.src_start : step.src_end]), "".join(right[step.dest_start : step.dest_end])


def _change(removed: str, added: str) -> Iterator[Piece]:
    shared = len(removed) - len(removed.rstrip()) if removed[len(removed.rstrip()) :] == added[len(added.rstrip()) :] else 0
    stem = (removed[:-shared], added[:-shared]) if shared else (removed, added)
    if stem[0]:
        yield Piece("removed", stem[0])
    if stem[1]:
        yield Piece("added", stem[1])
    if shared:
        yield Piece("same", removed[-shared:])


def sides(pieces: tuple[Piece, ...]) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """The pieces of the text before and of the text after; joined they give the texts again. Other space between the same words is no difference there."""
    return _side(pieces, "added"), _side(pieces, "removed")


def merged(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """The pieces of both texts in one: other space between the same words is no difference there either, and stands as in the text after."""
    return tuple(Piece("same", piece.text) if piece.text.isspace() else piece for piece in pieces if piece.kind != "removed" or not piece.text.isspace())


def _side(pieces: tuple[Piece, ...], other: Literal["added", "removed"]) -> tuple[Piece, ...]:
    return tuple(Piece("same", piece.text) if piece.text.isspace() else piece for piece in pieces if piece.kind != other)
