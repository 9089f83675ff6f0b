"""Text of rows for a terminal: cut, and unable to drive it."""

from sgpo_data.printable import HOSTILE, printable

__all__ = ["cut", "printable", "printable_json"]


def printable_json(text: str) -> str:
    """The same JSON, with what could drive a terminal written as JSON's own escapes."""
    return HOSTILE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def cut(text: str, characters: int) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    return text if len(text) <= characters else text[: max(characters - 1, 0)] + "…"
