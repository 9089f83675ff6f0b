"""How far a work is, in a small JSON file for monitors and job logs: whole at any moment, at most a second old while the work goes on."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

STATUS = "status.json"
Place = Mapping[str, str | int]
StageStatus = Mapping[str, str | int | float | None]


def begin_status(path: Path, place: Place) -> None:
    """Writes that something is being made: what, and which of how many."""
    _write(path, {**place, "state": "running", "stages": []})


def update_status(path: Path, stages: Sequence[StageStatus]) -> None:
    """Writes how far its stages are, beside what was begun."""
    _write(path, {**_content(path), "state": "running", "stages": list(stages)})


def end_status(path: Path, state: str, error: str | None = None) -> None:
    """Writes that the work is done, or why it stopped."""
    _write(path, {**_content(path), "state": state, "error": error})


def _content(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("state") == "running" else {}


def _write(path: Path, content: Mapping[str, object]) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    # A monitor is not worth a run: a disk that is full ends it soon enough, with words of its own.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps({**content, "updated": datetime.now(UTC).isoformat(timespec="seconds")}, indent=2) + "\n", encoding="utf-8")
        aside.replace(path)
