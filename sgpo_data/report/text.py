"""Text of rows for a page: cut where it is long, counts and shares in few digits."""

from sgpo_data.sealed import visible

PLACE = 24
"""Characters shown of the name of a round or of an outcome."""


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
