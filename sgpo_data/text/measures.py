"""Text measures of a row: words, edit distances, repeated 4-grams, residue of templates."""

import re
import sys
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import TypedDict

from rapidfuzz.distance import Levenshtein

LONGEST_EXACT = 1 << 15
"""Words up to which an edit distance is exact: its time grows with the product of the two lengths."""

_UNSPACED = (
    "\u0e00-\u0fff"  # Thai, Lao, Tibetan
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf"  # Khmer, Tai Le, New Tai Lue, Tai Tham
    "\u2e80-\u2fdf\u3000-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\ua4cf\uf900-\ufaff"  # Han, kana, bopomofo, Yi
    "\uff66-\uff9f\U0001aff0-\U0001b16f\U00020000-\U0003ffff"  # half-width and historic kana, Han beyond the basic plane
)
"""Scripts that are written without spaces, as ranges of a character class."""

_ASCII_WORD = re.compile(r"\w+|[^\w\s]")

_TOKEN = re.compile(
    r"<(?:"
    r"[|｜][^|｜<>\s]{1,40}[|｜]>"
    r"|/?s>"
    r"|(?:start|end)_of_turn>"
    r"|/?SYS>>"
    r"|<SYS>>"
    r"|(?:bos|eos|pad|unk)>"
    r")"
    r"|\[/?INST\]"
)
_HEADER = re.compile(r"(?:\A|\n)(### (?:(?:Request|Draft|Reference|Instruction)(?=:?[ \t]{0,3}(?:\r?\n|\Z))|(?:Response|Input|User|Human|Assistant|System):))")
_BETTER = r"(?:improved|rewritten|revised|refined|better|updated|corrected|edited|polished|enhanced|new)"
_NOUNS = ("answer", "response", "draft", "reply", "rewrite")
_TEXT = rf"(?:{'|'.join(_NOUNS)})"
_WORD = r"(?!(?:to|of|for|with|in|on|that|which|who)\b)[\w,-]{1,20} "
_OPENING = re.compile(
    r"\W{0,8}(?:"
    rf"(?:(?:sure|certainly|absolutely|of course|okay|ok)\W{{1,3}})?here(?:['’]s| is) (?:the|my|your|an?) (?:{_WORD}){{0,3}}?{_BETTER}"
    rf",? (?:{_WORD}){{0,3}}?(?:version of (?:the|your|my) (?:{_WORD})?)?{_TEXT}\b"
    rf"|(?:the |my )?{_BETTER} {_TEXT}\W{{0,4}}(?::|\n)"
    r"|(?:compared (?:to|with)|unlike) the (?:original |first )?draft\b"
    r"|the (?:original |first )?draft "
    r"(?:is (?:already|correct|good|mostly|incorrect|wrong)|already|answers|lacks|omits|misses|fails|could be|needs to|should be|does not|doesn['’]t)\b"
    r")",
    re.IGNORECASE,
)
_TALK = re.compile(
    rf"\bthe (?:(?:original |given )?draft|reference) (?:answer|response)\b"
    rf"|\bI(?:['’]ve| have)? (?:rewrote|rewritten|revised|improved|refined|edited|corrected) the (?:{_WORD})?{_TEXT}\b"
    rf"|(?:\A|\n)\W{{0,4}}(?:the )?{_BETTER} {_TEXT}\W{{0,4}}:"
    rf"|(?:\A|\n)\W{{0,4}}(?:changes|improvements|edits|corrections)(?: I)? made to the {_TEXT}\b",
    re.IGNORECASE,
)
_MARGIN = 400
"""Characters at either end of an answer where talk about the rewrite is looked for: it comes before the answer or after it."""


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


def measures(response: str | None, improved: str | None, reference: str | None) -> Measures:
    """All text measures of one row.

    `residue` is looked for in the response first, then in the improved answer; the reference is not ours to judge.
    """
    draft, rewrite, target = (None if text is None else words(text) for text in (response, improved, reference))
    return Measures(
        response_words=None if draft is None else len(draft),
        improved_words=None if rewrite is None else len(rewrite),
        reference_words=None if target is None else len(target),
        edited_words=None if draft is None or rewrite is None else edit_distance(draft, rewrite),
        reference_edited_words=None if target is None or rewrite is None else edit_distance(target, rewrite),
        response_repeats=None if draft is None else repeats(draft),
        improved_repeats=None if rewrite is None else repeats(rewrite),
        residue=next((found for text in (response, improved) if text is not None and (found := residue(text)) is not None), None),
    )


def words(text: str) -> list[str]:
    """The words of a text in their order, case and form as they stand.

    A run of letters, digits and underscores of a spaced script is a word; every other visible character, and every character
    of a script without spaces, is a word of its own. Combining marks and zero-width joiners belong to what they follow.
    """
    return (_ASCII_WORD if text.isascii() else _word()).findall(text)


def edit_distance(before: Sequence[str], after: Sequence[str]) -> int:
    """Levenshtein distance in words: the fewest insertions, deletions and replacements.

    Where both have more than LONGEST_EXACT words it is summed over aligned blocks, so an upper bound.
    """
    blocks = -(-min(len(before), len(after)) // LONGEST_EXACT)
    if blocks <= 1:
        return Levenshtein.distance(before, after)
    distance = sum(Levenshtein.distance(_block(before, at, blocks), _block(after, at, blocks)) for at in range(blocks))
    return min(distance, max(len(before), len(after)))


def repeats(text: Sequence[str]) -> int:
    """Word 4-grams that stood in the text before, overlapping ones too."""
    return max(len(text) - 3, 0) - len(set(zip(text, text[1:], text[2:], text[3:], strict=False)))


def residue(text: str) -> str | None:
    """What of a template or of talk about the rewrite stands in a text, as it stands there; None if nothing does.

    The first token of a chat template, else the first header of a prompt, else the first talk about the rewrite.
    """
    found = _TOKEN.search(text)
    if found is not None:
        return found.group()
    header = _HEADER.search(text) if "### " in text else None
    if header is not None:
        return header.group(1)
    opening = _OPENING.match(text)
    if opening is not None:
        return opening.group().strip()
    return _talk(text, 0) or _talk(text, max(len(text) - _MARGIN, 0))


def _talk(text: str, start: int) -> str | None:
    lowered = text[start : start + _MARGIN].lower()
    # Talk names what it talks of; most text does not, and is spared the slower pattern.
    if not any(noun in lowered for noun in _NOUNS):
        return None
    found = _TALK.search(text, start, start + _MARGIN)
    return None if found is None else found.group().strip()


def _block(text: Sequence[str], at: int, blocks: int) -> Sequence[str]:
    return text[at * len(text) // blocks : (at + 1) * len(text) // blocks]


@cache
def _word() -> re.Pattern[str]:
    # The standard library's \w leaves combining marks out, which would cut the words of Devanagari, Arabic or decomposed Latin.
    marks = "".join(_marks())
    letter = rf"[^\W{_UNSPACED}]"
    return re.compile(rf"{letter}++(?:[{marks}]++{letter}*+)*+|\S[{marks}]*+")


def _marks() -> list[str]:
    """Combining marks and zero-width joiners, as ranges of a character class."""
    codes = [code for code in range(0x300, sys.maxunicode + 1) if code in (0x200C, 0x200D) or unicodedata.category(chr(code)).startswith("M")]
    starts = [code for at, code in enumerate(codes) if at == 0 or codes[at - 1] != code - 1]
    ends = [code for at, code in enumerate(codes) if at + 1 == len(codes) or codes[at + 1] != code + 1]
    return [f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True)]


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
