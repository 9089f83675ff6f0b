"""Two texts word by word: which words the second has lost, and which are new in it."""

from collections.abc import Iterator
from dataclasses import dataclass

from rapidfuzz.distance import Indel

from sgpo_data.stages.measures import words


@dataclass(frozen=True)
class Piece:
    """A stretch of a text."""

    text: str
    changed: bool


def difference(before: str, after: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Both texts in pieces; joined they give the texts again. What is between words is never changed by itself."""
    old, new = words(before), words(after)
    lost: list[tuple[int, int]] = []
    found: list[tuple[int, int]] = []
    for step in Indel.opcodes(old, new):
        if step.tag != "equal":
            lost.append((step.src_start, step.src_end))
            found.append((step.dest_start, step.dest_end))
    return tuple(_pieces(before, old, lost)), tuple(_pieces(after, new, found))


def _pieces(text: str, of: list[str], changed: list[tuple[int, int]]) -> Iterator[Piece]:
    places = list(_places(text, of))
    done = 0
    for first, beyond in _joined(changed):
        start, end = places[first][0], places[beyond - 1][1]
        if start > done:
            yield Piece(text[done:start], False)
        yield Piece(text[start:end], True)
        done = end
    if done < len(text):
        yield Piece(text[done:], False)


def _joined(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Spans of words that are not empty, those that touch as one."""
    open_span: tuple[int, int] | None = None
    for first, beyond in spans:
        if first == beyond:
            continue
        if open_span is not None and open_span[1] == first:
            open_span = open_span[0], beyond
            continue
        if open_span is not None:
            yield open_span
        open_span = first, beyond
    if open_span is not None:
        yield open_span


def _places(text: str, of: list[str]) -> Iterator[tuple[int, int]]:
    """Where each word begins and ends: between two words is nothing but space."""
    at = 0
    for word in of:
        start = text.index(word, at)
        at = start + len(word)
        yield start, at
