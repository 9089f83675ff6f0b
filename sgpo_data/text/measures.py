"""Text measures of a row: words, edit distances, repeated 4-grams, residue."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypedDict

from rapidfuzz.distance import Levenshtein

from sgpo_data.text.residue import residue
from sgpo_data.text.wording import TemplateWording
from sgpo_data.text.words import block, words

LONGEST_EXACT = 1 << 15
"""Words up to which an edit distance is exact: its time grows with the product of the two lengths."""


class Measures(TypedDict):
    """The measured columns of `scored`; a measure of a text that is None is None."""

    response_words: int | None
    improved_words: int | None
    reference_words: int | None
    edited_words: int | None
    reference_edited_words: int | None
    response_repeats: int | None
    improved_repeats: int | None
    residue: str | None


def measures(response: str | None, improved: str | None, reference: str | None, *, prompt: Sequence[str], wording: TemplateWording) -> Measures:
    """All text measures of one row; `prompt` are its turns, `wording` is that of the templates that the rewrite was asked for with.

    `residue` is looked for in the response first, then in the improved answer; the reference is not ours to judge.
    """
    beside = prompt if reference is None else (*prompt, reference)
    draft, rewrite, target = (None if text is None else words(text) for text in (response, improved, reference))
    return Measures(
        response_words=None if draft is None else len(draft),
        improved_words=None if rewrite is None else len(rewrite),
        reference_words=None if target is None else len(target),
        edited_words=None if draft is None or rewrite is None else edit_distance(draft, rewrite),
        reference_edited_words=None if target is None or rewrite is None else edit_distance(target, rewrite),
        response_repeats=None if draft is None else repeats(draft),
        improved_repeats=None if rewrite is None else repeats(rewrite),
        residue=next((found for text in (response, improved) if text is not None and (found := residue(text, wording, beside)) is not None), None),
    )


def edit_distance(before: Sequence[str], after: Sequence[str]) -> int:
    """Levenshtein distance in words: the fewest insertions, deletions and replacements.

    Where both have more than LONGEST_EXACT words it is summed over aligned blocks, so an upper bound.
    """
    blocks = -(-min(len(before), len(after)) // LONGEST_EXACT)
    if blocks <= 1:
        return Levenshtein.distance(before, after)
    distance = sum(Levenshtein.distance(block(before, at, blocks), block(after, at, blocks)) for at in range(blocks))
    return min(distance, max(len(before), len(after)))


def repeats(text: Sequence[str]) -> int:
    """Word 4-grams that stood in the text before, overlapping ones too."""
    return max(len(text) - 3, 0) - len(set(zip(text, text[1:], text[2:], text[3:], strict=False)))


WORDS = 20_000
"""Words over which distinct-2 is taken, since it falls with the length of the text."""


Words = list[list[str]]


def distinct_2(texts: Words, room: int) -> float | None:
    """Distinct pairs of neighbouring words as a share of all, over the first so many words; None if there is no pair."""
    total, distinct = 0, set()
    for text in texts:
        found = list(pairwise(text[:room]))
        total += len(found)
        distinct.update(found)
        room -= len(text)
        if room <= 0:
            break
    return len(distinct) / total if total else None
