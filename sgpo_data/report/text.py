"""Text of rows for a page: cut where it is long, and with every character that hides or turns text written out."""

import re

# Controls that HTML does not allow or show, and what turns a line around or hides in it. Marks that a script needs (LRM, RLM, ZWJ, ZWNJ) stay.
_UNSEEN = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u206f\\ufeff\\ufff9-\\uffff\\U000e0000-\\U000e007f]")

PLACE = 24
"""Characters shown of the name of a round or of an outcome."""


def visible(text: str) -> str:
    """The text with unseen characters as their code points; \\r\\n is a line break."""
    return _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))


def line(text: str, characters: int) -> str:
    """The beginning of a text on one line."""
    flat = " ".join(visible(text[: 4 * characters]).split())
    return flat if len(flat) <= characters else flat[: characters - 1].rstrip() + "…"


def count(number: int) -> str:
    """A count, whole up to 99,999 and in three digits beyond."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= max(size, 100_000):
            digits = number / size
            return f"{digits:.2f}{unit}" if digits < 9.995 else f"{digits:.1f}{unit}" if digits < 99.95 else f"{digits:.0f}{unit}"
    return f"{number:,}"


def percent(part: float, whole: float) -> str:
    """A share in percent."""
    return f"{100 * part / whole:.1f} %" if whole else "–"
