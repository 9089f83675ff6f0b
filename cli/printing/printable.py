"""Text of rows for a terminal: cut, and unable to drive it."""

import re

# C0, DEL and C1 controls, and what turns the direction of a line around.
HOSTILE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ufff9-\\ufffb]")
NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def printable(text: str) -> str:
    """The text on one line, with every control character written as its escape."""
    return HOSTILE.sub(_escape, text)


def printable_json(text: str) -> str:
    """The same JSON, with what could drive a terminal written as JSON's own escapes."""
    return HOSTILE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def cut(text: str, characters: int) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    return text if len(text) <= characters else text[: max(characters - 1, 0)] + "…"


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return NAMED.get(character) or (f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}")
