"""What a word is, in any script: the one definition that counts, edits, differences and n-grams go by."""

import re
import sys
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

UNSPACED = (
    "\u0e00-\u0fff"  # Thai, Lao, Tibetan
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf"  # Khmer, Tai Le, New Tai Lue, Tai Tham
    "\u2e80-\u2fdf\u3000-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\ua4cf\uf900-\ufaff"  # Han, kana, bopomofo, Yi
    "\uff66-\uff9f\U0001aff0-\U0001b16f\U00020000-\U0003ffff"  # half-width and historic kana, Han beyond the basic plane
)
"""Scripts that are written without spaces, as ranges of a character class."""

_ASCII_WORD = r"\w+|[^\w\s]"
_SPACED = rf"[\p{{L}}\p{{N}}_--[{UNSPACED}]]"
_MARK = r"[\p{M}\x{200C}\x{200D}]"
_COUNTED = rf"{_SPACED}(?:{_SPACED}|{_MARK})*|[^\s\x1C-\x1F]{_MARK}*"
"""A word, as Polars matches it: its \\w holds marks and lacks numbers such as ½, its \\s lacks four separators."""
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
TERM = rf"[{_UNSPACED}]\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+"
"""A word as far as texts that say the same share it, as Polars matches it: letters and digits alone, cut at underscores and at joiners."""


def words(text: str) -> list[str]:
    """The words of a text in their order, case and form as they stand.

    A run of letters, digits and underscores of a spaced script is a word; every other visible character, and every character
    of a script without spaces, is a word of its own. Combining marks and zero-width joiners belong to what they follow.
    """
    return _pattern(text).findall(text)


def spaced_words(text: str) -> list[str]:
    """The words of a text and the space between them, as they stand: joined they are the text."""
    return _pattern(text, r"|\s+").findall(text)


def block(words: Sequence[str], at: int, blocks: int) -> Sequence[str]:
    """One of so many stretches of about equal length, counted from 0."""
    return words[at * len(words) // blocks : (at + 1) * len(words) // blocks]


def count_words(text: "pl.Expr") -> "pl.Expr":
    """How many words each text of a column has."""
    import polars as pl

    return text.str.count_matches(_COUNTED).cast(pl.Int32)


def _pattern(text: str, more: str = "") -> re.Pattern[str]:
    return re.compile(_ASCII_WORD + more) if text.isascii() else _word(more)


@cache
def _word(more: str) -> re.Pattern[str]:
    # The standard library's \w leaves combining marks out, which would cut the words of Devanagari, Arabic or decomposed Latin.
    marks = _marks()
    letter = rf"[^\W{UNSPACED}]"
    return re.compile(rf"{letter}++(?:[{marks}]++{letter}*+)*+|\S[{marks}]*+{more}")


@cache
def _marks() -> str:
    """Combining marks and zero-width joiners, as ranges of a character class."""
    codes = [code for code in range(0x300, sys.maxunicode + 1) if code in (0x200C, 0x200D) or unicodedata.category(chr(code)).startswith("M")]
    starts = [code for at, code in enumerate(codes) if at == 0 or codes[at - 1] != code - 1]
    ends = [code for at, code in enumerate(codes) if at + 1 == len(codes) or codes[at + 1] != code + 1]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
