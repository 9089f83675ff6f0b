"""Taking a dataset up again: one process at a time, from what a killed session left."""

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import filelock
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from sgpo_data.dataset import WORK, Dataset, open_dataset
from sgpo_data.errors import DatasetError
from sgpo_data.manifest import MANIFEST, FileRecord, Identity, Manifest, file_digest
from sgpo_data.parquet import disk_error, write_text
from sgpo_data.rows import Row
from sgpo_data.schema import schema
from sgpo_data.unfinished import DONE, PLAN, Done, Found, Plan, Unfinished, journal_path, part_name

log = logging.getLogger(__name__)


class Holder(BaseModel):
    """The process that is making a dataset."""

    process: int
    host: str
    since: str
    command: str


def make(folder: Path, identity: Identity, *, table: str, part_rows: int, work: Callable[[Unfinished], Found]) -> Dataset:
    """The dataset of this identity: as it is if it is whole, else made by `work` from what earlier sessions have left.

    Raises DatasetError if another process is making it, or if the folder holds something else; whatever `work` raises.
    """
    dataset = _made(folder, identity)
    if dataset is not None:
        log.info("%s: made already, %d rows", folder, dataset.manifest.rows)
        return dataset
    _refuse_foreign(folder)
    try:
        (folder / WORK).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(folder, error) from error
    with _held(folder):
        if _made(folder, identity) is None:
            into = _taken_up(folder, Plan(identity=identity, table=table, part_rows=part_rows))
            try:
                into.finish(work(into))
            except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
                reason = str(error).splitlines()[0]
                raise DatasetError(f"{folder}: can not be made here ({reason}); make room, then run the same command again") from error
            finally:
                into.close()
    dataset = open_dataset(folder)
    log.info("%s: %s", folder, _summary(dataset.manifest))
    return dataset


def _made(folder: Path, identity: Identity) -> Dataset | None:
    """The dataset of this identity if the folder holds it whole, None if it is still to be made.

    Raises DatasetError if the folder holds something else.
    """
    if not (folder / MANIFEST).is_file():
        return None
    dataset = open_dataset(folder)
    _refuse_other(folder, dataset.manifest.identity, identity)
    return dataset


def _taken_up(folder: Path, wanted: Plan) -> Unfinished:
    plan = _plan(folder, wanted)
    files = _whole_parts(folder, plan)
    left = Unfinished(folder, plan, schema(plan.table), files, _journalled(folder, files), _done(folder))
    if left.rows_done:
        log.info("%s: taken up again, %d rows done", folder, left.rows_done)
    return left


def _refuse_other(folder: Path, there: Identity, wanted: Identity) -> None:
    if there.fingerprint != wanted.fingerprint:
        changes = "; ".join(change if len(change) < 160 else f"{change[:160]}..." for change in there.differences(wanted)[:4])
        raise DatasetError(
            f"{folder}: belongs to another fingerprint, {there.stage}@{there.fingerprint[:8]}, not {wanted.stage}@{wanted.fingerprint[:8]} "
            f"({changes}); give another -o, or remove it"
        )


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder}: is a file; give a folder for -o")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / WORK).is_dir() and not (folder / MANIFEST).is_file():
        raise DatasetError(f"{folder}: is not empty, and no dataset; give an empty or a new folder for -o")


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    work = folder / WORK
    lock = filelock.FileLock(work / "lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise DatasetError(f"{folder}: is being made by {_holder(work)}; wait for it, or stop it and run the same command again") from error
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        holder = Holder(process=os.getpid(), host=socket.gethostname(), since=since, command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:2]]))
        if not (folder / MANIFEST).is_file():
            write_text(work / "holder.json", holder.model_dump_json())
        yield
    finally:
        lock.release()


def _holder(work: Path) -> str:
    try:
        holder = Holder.model_validate_json((work / "holder.json").read_bytes())
    except (OSError, ValidationError):
        return "another process"
    return f"process {holder.process} on {holder.host} since {holder.since} ({holder.command})"


def _plan(folder: Path, wanted: Plan) -> Plan:
    path = folder / WORK / PLAN
    if not path.is_file():
        write_text(path, wanted.model_dump_json(indent=2))
        return wanted
    try:
        frozen = Plan.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DatasetError(f"{path}: not a plan of this version; remove {folder} and run the same command again") from error
    _refuse_other(folder, frozen.identity, wanted.identity)
    return frozen


def _done(folder: Path) -> Done:
    try:
        return Done.model_validate_json((folder / WORK / DONE).read_bytes())
    except (OSError, ValidationError):
        return Done()


def _whole_parts(folder: Path, plan: Plan) -> dict[int, FileRecord]:
    """The parts that can be read to their end; one that can not is set aside for making again."""
    found = {}
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            rows = pq.read_table(path, page_checksum_verification=True).num_rows
        except (OSError, pa.ArrowException) as error:
            log.warning("%s: can not be read (%s); its rows are made again", path, error)
            path.unlink()
            continue
        part = int(path.stem.removeprefix("part-"))
        if path.name != part_name(part) or rows > plan.part_rows:
            raise DatasetError(f"{path}: is no part of this dataset; give another -o, or remove {folder}")
        found[part] = FileRecord(name=path.name, rows=rows, bytes=path.stat().st_size, sha256=file_digest(path))
    return found


def _journalled(folder: Path, files: dict[int, FileRecord]) -> dict[int, dict[int, Row]]:
    """The rows of the open parts. A line that a kill cut is taken off its journal; its row is made again."""
    found: dict[int, dict[int, Row]] = {}
    for path in sorted((folder / WORK).glob("part-*.jsonl")):
        part = int(path.stem.removeprefix("part-"))
        if part in files:
            path.unlink()
            continue
        whole, _, cut = path.read_bytes().rpartition(b"\n")
        if cut:
            os.truncate(path, len(whole) + 1 if whole else 0)
        rows = [_journal_line(line) for line in whole.split(b"\n") if whole]
        found[part] = dict(row for row in rows if row is not None)
        if cut or None in rows:
            log.warning("%s: %d rows can not be read; they are made again", journal_path(folder, part), rows.count(None) + bool(cut))
    return found


def _journal_line(line: bytes) -> tuple[int, Row] | None:
    try:
        number, row = orjson.loads(line)
        return int(number), row
    except (ValueError, TypeError):
        return None


def _summary(manifest: Manifest) -> str:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in manifest.outcomes.items())
    speed = f", {manifest.tokens} tokens, {manifest.tokens / max(manifest.seconds, 1e-3):.0f} tokens/s" if manifest.tokens else ""
    return f"{manifest.rows} rows of {manifest.table} ({outcomes}) in {manifest.seconds:.1f} s{speed}"
