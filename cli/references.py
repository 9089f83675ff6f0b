"""References as they are typed."""

import re
import sys
from pathlib import Path

from sgpo_data.errors import UsageError

_TELLS = re.compile(r"\s\s|\t|: |^[{\[]")
"""In a row of a table, a message or JSON, and in no name of a dataset."""


def typed(reference: str) -> str:
    """The reference itself, or for `-` the last line of standard input, which is where a stage prints its own.

    Raises UsageError if it is empty, or ends in what is no reference.
    """
    if reference != "-":
        return reference
    lines = sys.stdin.read().split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), None)
    if last is None:
        raise UsageError("-: standard input is empty, so the stage before it failed; its own line above says why")
    if _TELLS.search(last) and not _exists(last):
        raise UsageError(
            f"-: standard input ends in no reference (got {last[:80]!r}), so the stage before it failed, and its own line says why, or printed --json"
        )
    return last


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False
