"""Taking a dataset up again: one process at a time, from what a killed session left."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

import duckdb

from sgpo_data.errors import DatasetError, first_line
from sgpo_data.schema import schema
from sgpo_data.store.cost import done_before
from sgpo_data.store.dataset import WORK, Dataset, open_dataset
from sgpo_data.store.lock import PLAN, claimed, freeze_plan, refuse_other
from sgpo_data.store.manifest import MANIFEST, FileRecord, Identity
from sgpo_data.store.outcome import outcome
from sgpo_data.store.parts import OpenPart, Plan, journalled, no_part, part_name, whole_part
from sgpo_data.store.share import PartRange
from sgpo_data.store.shares import EXPECTED, SHARES, Expected, cost_of_shares, refuse_live_shares, share_held
from sgpo_data.store.unfinished import StageSummary, Unfinished

PATIENCE = 60.0
"""Seconds that a share waits for another one which is just beginning, or finishing the dataset."""
NAMED = 5
"""Missing parts that a message names."""

log = logging.getLogger(__name__)


def make(folder: Path, identity: Identity, *, table: str, part_rows: int, work: Callable[[Unfinished], StageSummary], seconds: float = 0) -> Dataset:
    """The dataset of this identity; if it is not whole, `work` makes the rest.

    Raises DatasetError if another process is making it for longer than `seconds`, or if the folder holds something else; whatever `work` raises.
    """
    with take_up(folder, identity, table=table, part_rows=part_rows, seconds=seconds) as into:
        if into is not None:
            return finish(into, work(into))
    dataset = open_dataset(folder)
    log.info("%s: made already, %d rows", folder, dataset.manifest.rows)
    return dataset


@contextmanager
def take_up(folder: Path, identity: Identity, *, table: str, part_rows: int, seconds: float = 0) -> Iterator[Unfinished | None]:
    """The unfinished dataset of this identity, held by this process alone; None if it is whole.

    Raises DatasetError if another process is making it for longer than `seconds`, if the folder holds something else, or if the disk does not take it.
    """
    if _made(folder, identity):
        yield None
        return
    with claimed(folder, seconds=seconds):
        if _made(folder, identity):
            # Another process has finished it while this one was waiting to begin.
            rmtree(folder / WORK, ignore_errors=True)
            yield None
            return
        refuse_live_shares(folder)
        into = _begin(folder, Plan(identity=identity, table=table, part_rows=part_rows))
        try:
            yield into
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            raise DatasetError(
                f"{folder}: stopped ({first_line(error)}); make room, or find the broken input with sgpo check, then run the same command again"
            ) from error
        finally:
            into.close()


@contextmanager
def take_up_share(folder: Path, wanted: Plan, parts: PartRange, expected: Expected) -> Iterator[Unfinished | None]:
    """A share of the unfinished dataset of this plan, held by this process alone, while others make theirs; None if the dataset is whole.

    Raises DatasetError if another process makes this share, all of the dataset or parts that overlap, or if the folder holds something else.
    """
    if _made(folder, wanted.identity):
        yield None
        return
    with share_held(folder, parts) as share:
        with claimed(folder, seconds=PATIENCE):
            if _made(folder, wanted.identity):
                rmtree(folder / WORK, ignore_errors=True)
                yield None
                return
            plan = freeze_plan(folder, wanted, begun=_begun(folder))
            refuse_live_shares(folder, beside=parts)
            expected.write(folder)
        into = Unfinished(folder, plan, schema(plan.table), {}, {}, done_before(share.place), share=share)
        try:
            yield into
        finally:
            into.close()


def finish_shares(folder: Path) -> Dataset:
    """The dataset of this folder whose shares are all made; its manifest is written if it is not there.

    Raises DatasetError if a part is missing, which it names with the share that it belongs to, or if a share is being made.
    """
    if (folder / MANIFEST).is_file():
        return open_dataset(folder)
    expected = Expected.read(folder)
    if expected is None:
        raise DatasetError(f"{folder}: was not begun with --part-range, so there is nothing to finish; give the folder that its shares were given as -o")
    with claimed(folder, seconds=PATIENCE):
        if (folder / MANIFEST).is_file():
            rmtree(folder / WORK, ignore_errors=True)
            return open_dataset(folder)
        refuse_live_shares(folder)
        plan = Plan.model_validate_json((folder / WORK / PLAN).read_bytes())
        into = _begin(folder, plan)
        try:
            if missing := [part for part in range(_parts(plan, expected)) if part not in into.files]:
                raise DatasetError(_told(folder, missing, _parts(plan, expected)))
            return finish(into, expected.found)
        finally:
            into.close()


def last_in(folder: Path) -> Dataset | None:
    """The dataset, finished now if all its parts are there and no share is being made; None if another process has still to finish it."""
    expected = Expected.read(folder)
    if expected is not None:
        plan = Plan.model_validate_json((folder / WORK / PLAN).read_bytes())
        if not all((folder / part_name(part)).exists() for part in range(_parts(plan, expected))):
            return None
        try:
            refuse_live_shares(folder)
        except DatasetError:
            return None
    return finish_shares(folder)


def _parts(plan: Plan, expected: Expected) -> int:
    return -(-expected.rows // plan.part_rows)


def _told(folder: Path, missing: list[int], parts: int) -> str:
    counts = sorted({int(place.name.partition("-of-")[2]) for place in (folder / WORK / SHARES).glob("*-of-*")})
    of = f"; make them with the same command and --part-range {PartRange.of_part(missing[0], counts[-1])}" if counts else ""
    more = ", ..." if len(missing) > NAMED else ""
    return f"{folder}: {len(missing)} of {parts} parts are not whole ({', '.join(map(str, missing[:NAMED]))}{more}){of}, then: sgpo finish {folder}"


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
    plan = freeze_plan(folder, wanted, begun=_begun(folder))
    files = _whole_parts(folder, plan)
    parts = _journalled(folder, files)
    before, others = done_before(folder / WORK), cost_of_shares(folder)
    # Journals of shares tell the seconds of theirs.
    seconds = [before.seconds, *(part.seconds for part in parts.values() if not others.seconds)]
    left = Unfinished(folder, plan, schema(plan.table), files, parts, before.model_copy(update={"seconds": max(seconds)}), others=others)
    if left.rows_done:
        log.info("%s: taken up again, %d rows done", folder, left.rows_done)
    return left


def _begun(folder: Path) -> bool:
    """Whether rows have been made that another plan would lose; shares agree on a plan before their first row."""
    return any(folder.glob("part-*.parquet")) or any((folder / WORK).glob("part-*.jsonl")) or (folder / WORK / EXPECTED).is_file()


def _whole_parts(folder: Path, plan: Plan) -> dict[int, FileRecord]:
    found = {}
    for path in sorted(folder.glob("part-*.parquet")):
        part = _number(path)
        if path.name != part_name(part):
            raise no_part(path)
        if (whole := whole_part(folder, plan, part)) is not None:
            found[part] = whole
    return found


def _journalled(folder: Path, files: dict[int, FileRecord]) -> dict[int, OpenPart]:
    """The open parts; the journal of a part that is whole is removed."""
    found: dict[int, OpenPart] = {}
    for path in sorted((folder / WORK).glob("part-*.jsonl")):
        part = _number(path)
        if part in files:
            path.unlink()
        elif (left := journalled(folder, part)) is not None:
            found[part] = left
    return found


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("part-"))


def _summary(dataset: Dataset) -> str:
    manifest = dataset.manifest
    outcomes = outcome(manifest.table, manifest.outcomes, dataset.paths)
    speed = f", {manifest.tokens} tokens, {manifest.tokens / max(manifest.seconds, 1e-3):.0f} tokens/s" if manifest.tokens else ""
    if manifest.retokenized:
        speed += f"; rows that become other tokens when their text is read again: {manifest.retokenized}"
    return f"{manifest.rows} rows of {manifest.table} ({outcomes}) in {manifest.seconds:.1f} s{speed}"
