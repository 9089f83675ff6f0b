"""Words of a text in any script."""

import re
import sys
import unicodedata
from functools import cache

UNSPACED = (
    "\u0e00-\u0fff"  # Thai, Lao, Tibetan
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf"  # Khmer, Tai Le, New Tai Lue, Tai Tham
    "\u2e80-\u2fdf\u3000-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\ua4cf\uf900-\ufaff"  # Han, kana, bopomofo, Yi
    "\uff66-\uff9f\U0001aff0-\U0001b16f\U00020000-\U0003ffff"  # half-width and historic kana, Han beyond the basic plane
)
"""Scripts that are written without spaces, as ranges of a character class."""

_ASCII_WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """The words of a text in their order, case and form as they stand.

    A run of letters, digits and underscores of a spaced script is a word; every other visible character, and every character
    of a script without spaces, is a word of its own. Combining marks and zero-width joiners belong to what they follow.
    """
    return (_ASCII_WORD if text.isascii() else _word()).findall(text)


@cache
def _word() -> re.Pattern[str]:
    # The standard library's \w leaves combining marks out, which would cut the words of Devanagari, Arabic or decomposed Latin.
    marks = "".join(_marks())
    letter = rf"[^\W{UNSPACED}]"
    return re.compile(rf"{letter}++(?:[{marks}]++{letter}*+)*+|\S[{marks}]*+")


def _marks() -> list[str]:
    """Combining marks and zero-width joiners, as ranges of a character class."""
    codes = [code for code in range(0x300, sys.maxunicode + 1) if code in (0x200C, 0x200D) or unicodedata.category(chr(code)).startswith("M")]
    starts = [code for at, code in enumerate(codes) if at == 0 or codes[at - 1] != code - 1]
    ends = [code for at, code in enumerate(codes) if at + 1 == len(codes) or codes[at + 1] != code + 1]
    return [f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True)]
