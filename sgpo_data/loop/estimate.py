"""What a plan will cost, judged by runs of the same stages in this root."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue, ValidationError

from sgpo_data.loop.plan import Step
from sgpo_data.names import MODEL, MadeName
from sgpo_data.store.dataset import WORK
from sgpo_data.store.manifest import MANIFEST, Identity, Manifest, ModelManifest
from sgpo_data.store.state import State, state

NEWEST = 5
"""How many measured runs of a stage count: older ones may be from another machine."""


@dataclass(frozen=True)
class MeasuredCost:
    """What the manifest of something made says of its cost."""

    kind: str
    identity: Identity
    rows_in: int
    rows: int
    tokens: int
    seconds: float
    bytes: int
    created: float


@dataclass(frozen=True)
class Estimate:
    """A step with its cost: measured if it is made, otherwise estimated; None where no run has measured it."""

    step: Step
    state: State
    rows_done: int
    """Of an unfinished dataset."""
    rows: int | None
    tokens: int | None
    seconds: float | None
    """Still to come, if it is not made."""
    bytes: int | None


def estimates(steps: Sequence[Step], store: Path) -> list[Estimate]:
    """Each step with its state and cost; a local source that is not made yet is read.

    Raises what reading it raises.
    """
    measured: dict[str, list[MeasuredCost]] = {}
    for record in sorted(_records(store), key=lambda record: -record.created):
        measured.setdefault(record.kind, []).append(record)
    rows: dict[Path, int | None] = {}
    found = []
    for step in steps:
        estimate = _estimate(step, {kind: records[:NEWEST] for kind, records in measured.items()}, rows)
        rows[step.folder] = estimate.rows
        found.append(estimate)
    return found


def record(folder: Path) -> MeasuredCost | None:
    """The cost of what was made in this folder, None if nothing was or its manifest is of another version."""
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
        name = MadeName.parsed(folder.name)
        trained = name is not None and name.of == MODEL
        manifest = ModelManifest.model_validate_json(content) if trained else Manifest.model_validate_json(content)
    except (OSError, ValidationError):
        return None
    size = sum(place.stat().st_size for place in folder.iterdir() if place.is_file())
    rows_in = manifest.rows if isinstance(manifest, ModelManifest) else manifest.rows_in
    kind = _kind(manifest.identity.stage, manifest.identity.fields)
    return MeasuredCost(kind, manifest.identity, rows_in, manifest.rows, manifest.tokens, manifest.seconds, size, manifest.created.timestamp())


def _records(store: Path) -> list[MeasuredCost]:
    found = (record(folder) for folder in store.iterdir()) if store.is_dir() else iter(())
    return [each for each in found if each is not None]


def _kind(stage: str, fields: JsonValue) -> str:
    """What is comparable: the stage, and for pairs and training what they make."""
    more = fields.get("kind") or fields.get("objective") if isinstance(fields, dict) else None
    return f"{stage} {more}" if more else stage


def _estimate(step: Step, measured: Mapping[str, list[MeasuredCost]], known: Mapping[Path, int | None]) -> Estimate:
    now = state(step.folder)
    own = record(step.folder) if now == "made" else None
    if own is not None:
        return Estimate(step, now, own.rows, own.rows, own.tokens, own.seconds, own.bytes)
    past = measured.get(_kind(step.job.identity.stage, step.job.identity.fields), [])
    rows = _rows(step, past, known)
    done = _rows_done(step.folder) if now == "resumes" else 0
    passes = _passes(step.job.identity)
    spent = sum(each.rows * _passes(each.identity) for each in past)
    if rows is None or not spent:
        return Estimate(step, now, done, rows, None, None, None)
    share = rows * passes / spent
    left = max(1 - done / rows, 0) if rows else 0
    size = sum(each.bytes for each in past) * (1 / len(past) if step.job.writes == MODEL else share)
    tokens, seconds = share * sum(each.tokens for each in past), share * sum(each.seconds for each in past) * left
    return Estimate(step, now, done, rows, round(tokens), seconds, round(size))


def _rows(step: Step, past: Sequence[MeasuredCost], known: Mapping[Path, int | None]) -> int | None:
    """How many rows the step will have; where that depends on what they hold, the share that earlier runs kept."""
    # What is given by a flag is looked up, and not gone through.
    inputs = [known[each.folder] if each.folder in known else _made_rows(each.folder) for each in step.job.inputs if not each.flag]
    given = [rows for rows in inputs if rows is not None]
    if len(given) < len(inputs):
        return None
    rows, read = step.job.rows_made(sum(given)), sum(each.rows_in for each in past)
    if rows is not None or not inputs or not read:
        return rows
    return round(sum(given) * sum(each.rows for each in past) / read)


def _made_rows(folder: Path) -> int | None:
    made = record(folder)
    return None if made is None else made.rows


def _passes(identity: Identity) -> float:
    fields = identity.fields
    epochs = fields.get("epochs") if isinstance(fields, dict) else None
    return float(epochs) if isinstance(epochs, int | float) else 1.0


def _rows_done(folder: Path) -> int:
    """Rows in whole parts and in journals."""
    total = 0
    for path in folder.glob("part-*.parquet"):
        try:
            total += pq.read_metadata(path).num_rows
        except (OSError, pa.ArrowException):
            continue
    for path in (folder / WORK).glob("part-*.jsonl"):
        with path.open("rb") as lines:
            total += sum(1 for _ in lines)
    return total
