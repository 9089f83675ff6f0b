"""References as they are typed."""

import sys

from sgpo_data.errors import UsageError


def typed(reference: str) -> str:
    """The reference itself, or for `-` the last line of standard input, which is where a stage prints its own."""
    if reference != "-":
        return reference
    lines = sys.stdin.read().split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), None)
    if last is None:
        raise UsageError("-: standard input is empty, so the stage before it failed; its own line above says why")
    return last
