"""A part of an unfinished dataset: its file, its journal, and what earlier sessions left of it."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sgpo_data.errors import DatasetError
from sgpo_data.rows import Row
from sgpo_data.store.cost import Cost, Costs
from sgpo_data.store.dataset import WORK
from sgpo_data.store.files import file_digest
from sgpo_data.store.lock import Intent
from sgpo_data.store.manifest import FileRecord
from sgpo_data.store.parquet import stamped_fingerprint

LARGE = 2**20

log = logging.getLogger(__name__)


class Plan(Intent):
    """What an unfinished dataset is to become, written before its first row."""

    table: str
    part_rows: int
    """Rows of each part but the last; frozen, since a row's number names its part."""


@dataclass
class OpenPart:
    """The rows of a part that is not whole, and what they have cost."""

    rows: dict[int, Row] = field(default_factory=dict)
    costs: Costs = field(default_factory=Costs)
    seconds: float = 0.0
    """Of all sessions, when the last of the rows that earlier ones made was there."""


def part_name(part: int) -> str:
    """File name of a whole part."""
    return f"part-{part:05}.parquet"


def journal_path(folder: Path, part: int) -> Path:
    """Where the rows of an open part stand, one JSON line each: number, row, tokens, whether it was retokenized, seconds of all sessions by then."""
    return folder / WORK / f"part-{part:05}.jsonl"


def whole_part(folder: Path, plan: Plan, part: int) -> FileRecord | None:
    """The part if it can be read to its end; any other is removed, and its rows are made again.

    Raises DatasetError if the file is one of another dataset.
    """
    path = folder / part_name(part)
    if not path.exists():
        return None
    size = path.stat().st_size
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            # Of twenty thousand small files, most of the time goes into handing them to threads.
            rows = file.read(use_threads=size >= LARGE).num_rows
            stamp = stamped_fingerprint(file.metadata)
    except (OSError, pa.ArrowException) as error:
        log.warning("%s: cannot be read (%s); its rows are made again", path, error)
        path.unlink()
        return None
    if rows > plan.part_rows or stamp != plan.identity.fingerprint:
        raise no_part(path)
    return FileRecord(name=path.name, rows=rows, bytes=size, sha256=file_digest(path))


def no_part(path: Path) -> DatasetError:
    """A file named as a part that is none."""
    return DatasetError(f"{path}: is no part of this dataset; give another -o, or remove {path.parent}")


def journalled(folder: Path, part: int) -> OpenPart | None:
    """What the journal of a part holds; None if it has none.

    A line that a kill cut is taken off; its row is made again.
    """
    path = journal_path(folder, part)
    if not path.exists():
        return None
    whole, _, cut = path.read_bytes().rpartition(b"\n")
    if cut:
        os.truncate(path, len(whole) + 1 if whole else 0)
    entries = [_journal_line(line) for line in whole.split(b"\n") if whole]
    made = OpenPart()
    for entry in (entry for entry in entries if entry is not None and entry.number not in made.rows):
        made.rows[entry.number] = entry.row
        made.costs.add(entry.cost)
        made.seconds = max(made.seconds, entry.seconds)
    if cut or None in entries:
        log.warning("%s: %d rows cannot be read; they are made again", path, entries.count(None) + bool(cut))
    return made


@dataclass(frozen=True)
class _Entry:
    number: int
    row: Row
    cost: Cost
    seconds: float


def _journal_line(line: bytes) -> _Entry | None:
    try:
        number, row, tokens, retokenized, seconds = orjson.loads(line)
        return _Entry(int(number), row, Cost(int(tokens), bool(retokenized)), float(seconds))
    except (ValueError, TypeError):
        return None
