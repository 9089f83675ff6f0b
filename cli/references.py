"""References as they are typed, and those that lead nowhere."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from sgpo_data.errors import DatasetError, UsageError
from sgpo_data.names import remote
from sgpo_data.paths import local_path, missing_path

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


def refuse_missing(references: Sequence[str], model: str | None, root: Path, *, raw: bool = False) -> None:
    """Raises DatasetError, a line for each, if the model and some of the references lead nowhere: what opens them tells the first alone.

    `raw` is whether they may be raw sources, and names on the Hub.
    """
    # DuckDB and Arrow take a while to import: --help does without.
    from sgpo_data.references.dataset import missing
    from sgpo_data.references.model import missing_model
    from sgpo_data.sources.files import could_be_on_hub

    without_model = missing_model(model) if model else None
    if without_model is None:
        return
    absent = [each for each in references if not remote(each) and not any(local_path(place).exists() for place in (each, root / each))]
    faults = [missing_path(Path(each)) if raw else missing(each, root) for each in absent if not (raw and could_be_on_hub(each))]
    if faults:
        raise DatasetError(*faults, without_model)


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False
