"""Taking a dataset up again: one process at a time, from what a killed session left."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sgpo_data.errors import DatasetError, first_line
from sgpo_data.rows import Row
from sgpo_data.schema import schema
from sgpo_data.store.cost import Cost, done_before
from sgpo_data.store.dataset import WORK, Dataset, open_dataset
from sgpo_data.store.files import file_digest
from sgpo_data.store.lock import claimed, freeze_plan, refuse_other
from sgpo_data.store.manifest import MANIFEST, FileRecord, Identity
from sgpo_data.store.outcome import outcome
from sgpo_data.store.parquet import stamped_fingerprint
from sgpo_data.store.unfinished import OpenPart, Plan, StageSummary, Unfinished, journal_path, part_name

log = logging.getLogger(__name__)


def make(folder: Path, identity: Identity, *, table: str, part_rows: int, work: Callable[[Unfinished], StageSummary]) -> Dataset:
    """The dataset of this identity; if it is not whole, `work` makes the rest.

    Raises DatasetError if another process is making it, or if the folder holds something else; whatever `work` raises.
    """
    with take_up(folder, identity, table=table, part_rows=part_rows) as into:
        if into is not None:
            return finish(into, work(into))
    dataset = open_dataset(folder)
    log.info("%s: made already, %d rows", folder, dataset.manifest.rows)
    return dataset


@contextmanager
def take_up(folder: Path, identity: Identity, *, table: str, part_rows: int) -> Iterator[Unfinished | None]:
    """The unfinished dataset of this identity, held by this process alone; None if it is whole.

    Raises DatasetError if another process is making it, if the folder holds something else, or if the disk does not take it.
    """
    if _made(folder, identity):
        yield None
        return
    with claimed(folder):
        if _made(folder, identity):
            # Another process has finished it while this one was waiting to begin.
            rmtree(folder / WORK, ignore_errors=True)
            yield None
            return
        into = _begin(folder, Plan(identity=identity, table=table, part_rows=part_rows))
        try:
            yield into
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            raise DatasetError(
                f"{folder}: stopped ({first_line(error)}); make room, or find the broken input with sgpo check, then run the same command again"
            ) from error
        finally:
            into.close()


def finish(into: Unfinished, found: StageSummary) -> Dataset:
    """Finishes a dataset whose rows are all made."""
    into.finish(found)
    dataset = open_dataset(into.folder)
    log.info("%s: %s", into.folder, _summary(dataset))
    return dataset


def _made(folder: Path, identity: Identity) -> bool:
    """Whether the folder holds the dataset of this identity whole.

    Raises DatasetError if the folder holds something else.
    """
    if not (folder / MANIFEST).is_file():
        return False
    refuse_other(folder, open_dataset(folder).manifest.identity, identity)
    return True


def _begin(folder: Path, wanted: Plan) -> Unfinished:
    begun = any(folder.glob("part-*.parquet")) or any((folder / WORK).glob("part-*.jsonl"))
    plan = freeze_plan(folder, wanted, begun=begun)
    files = _whole_parts(folder, plan)
    parts, seconds = _journalled(folder, files)
    before = done_before(folder)
    before = before.model_copy(update={"seconds": max(before.seconds, seconds)})
    left = Unfinished(folder, plan, schema(plan.table), files, parts, before)
    if left.rows_done:
        log.info("%s: taken up again, %d rows done", folder, left.rows_done)
    return left


def _whole_parts(folder: Path, plan: Plan) -> dict[int, FileRecord]:
    """The parts that can be read to their end; any other is removed, and its rows are made again."""
    found = {}
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            table = pq.read_table(path, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            log.warning("%s: cannot be read (%s); its rows are made again", path, error)
            path.unlink()
            continue
        part = int(path.stem.removeprefix("part-"))
        if path.name != part_name(part) or table.num_rows > plan.part_rows or stamped_fingerprint(path) != plan.identity.fingerprint:
            raise DatasetError(f"{path}: is no part of this dataset; give another -o, or remove {folder}")
        found[part] = FileRecord(name=path.name, rows=table.num_rows, bytes=path.stat().st_size, sha256=file_digest(path))
    return found


def _journalled(folder: Path, files: dict[int, FileRecord]) -> tuple[dict[int, OpenPart], float]:
    """The open parts, and the seconds of all sessions when the last of their rows was there.

    A line that a kill cut is taken off its journal; its row is made again.
    """
    found: dict[int, OpenPart] = {}
    seconds = 0.0
    for path in sorted((folder / WORK).glob("part-*.jsonl")):
        part = int(path.stem.removeprefix("part-"))
        if part in files:
            path.unlink()
            continue
        whole, _, cut = path.read_bytes().rpartition(b"\n")
        if cut:
            os.truncate(path, len(whole) + 1 if whole else 0)
        entries = [_journal_line(line) for line in whole.split(b"\n") if whole]
        made = found[part] = OpenPart()
        for entry in (entry for entry in entries if entry is not None and entry.number not in made.rows):
            made.rows[entry.number] = entry.row
            made.costs.add(entry.cost)
            seconds = max(seconds, entry.seconds)
        if cut or None in entries:
            log.warning("%s: %d rows cannot be read; they are made again", journal_path(folder, part), entries.count(None) + bool(cut))
    return found, seconds


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


def _summary(dataset: Dataset) -> str:
    manifest = dataset.manifest
    outcomes = outcome(manifest.table, manifest.outcomes, dataset.paths)
    speed = f", {manifest.tokens} tokens, {manifest.tokens / max(manifest.seconds, 1e-3):.0f} tokens/s" if manifest.tokens else ""
    if manifest.retokenized:
        speed += f"; {manifest.retokenized} rows become other tokens when their text is read again"
    return f"{manifest.rows} rows of {manifest.table} ({outcomes}) in {manifest.seconds:.1f} s{speed}"
