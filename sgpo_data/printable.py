"""Text on one line of a terminal, unable to drive it."""

import re

# C0, DEL and C1 controls, what turns the direction of a line around, and lone surrogates, which no stream takes.
HOSTILE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ufff9-\\ufffb\\ud800-\\udfff]")
NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def printable(text: str) -> str:
    """The text on one line, with every control character written as its escape."""
    return HOSTILE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return NAMED.get(character) or (f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}")
