"""A dataset being made: its plan, its whole parts and the journals of its open parts."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from shutil import rmtree
from time import monotonic

import duckdb
import orjson
import pyarrow as pa

from sgpo_data.connection import connected
from sgpo_data.errors import DatasetError
from sgpo_data.rows import Row
from sgpo_data.schema import Schema
from sgpo_data.store.cost import DONE, FREE, Cost, Costs, PastCost
from sgpo_data.store.dataset import WORK
from sgpo_data.store.files import disk_error, write_text
from sgpo_data.store.manifest import MANIFEST, FileRecord, Manifest, ModelRecord, git_commit, host, versions
from sgpo_data.store.parquet import arrow_table, write_parquet
from sgpo_data.store.parts import OpenPart, Plan, journal_path, journalled, part_name, whole_part
from sgpo_data.store.share import PartShare


@dataclass(frozen=True)
class StageSummary:
    """What a stage knows of a dataset besides its rows."""

    rows_in: int
    outcome: str
    """SQL: the name each row is counted under."""
    origin: ModelRecord | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    exact: bool = True
    """Whether the platform repeats the rows, as far as the stage's settings tell."""


@dataclass
class Unfinished:
    """A dataset that this process alone is making.

    Rows are numbered from 0 over the whole dataset and arrive in any order; part p holds numbers p * part_rows and on.
    """

    folder: Path
    plan: Plan
    schema: Schema
    files: dict[int, FileRecord]
    open_parts: dict[int, OpenPart]
    before: PastCost
    """What earlier sessions have cost, their tokens in whole parts alone."""
    closed: Costs = field(default_factory=Costs)
    """Of this session, what rows of parts that are whole by now have cost."""
    share: PartShare | None = None
    """Its parts alone are made here; None for all of them."""
    others: PastCost = field(default_factory=PastCost)
    """What the shares of a dataset that is made whole here have cost, if it has been shared."""
    accelerator: str | None = None
    started: float = field(default_factory=monotonic)
    shared_seconds: float = 0.0
    """Of this session, what another dataset that was made at the same time has taken."""
    journals: dict[int, FileIO] = field(default_factory=dict)
    con: duckdb.DuckDBPyConnection = field(default_factory=connected)
    """For checks and counts: to open one takes as long as to check thousands of rows."""
    rows_done: int = field(init=False)
    """Rows in whole parts and in journals."""
    _tokens_before: int = field(init=False)
    _taken: dict[int, bool] = field(default_factory=dict)
    """Of the parts that the stream of a share has reached, whether they belong to it."""

    def __post_init__(self) -> None:
        self.rows_done = sum(record.rows for record in self.files.values()) + sum(len(part.rows) for part in self.open_parts.values())
        self._tokens_before = self.tokens

    @property
    def work(self) -> Path:
        """Where it notes what it has cost."""
        return self.folder / WORK if self.share is None else self.share.place

    @property
    def tokens(self) -> int:
        """What all rows that are there have cost."""
        return self.done.tokens + sum(part.costs.tokens for part in self.open_parts.values())

    @property
    def session_tokens(self) -> int:
        """What the rows made in this session have cost."""
        return self.tokens - self._tokens_before

    @property
    def retokenized(self) -> int:
        """Rows with a text that becomes other tokens than were sampled."""
        return self.done.retokenized + sum(part.costs.retokenized for part in self.open_parts.values())

    @property
    def done(self) -> PastCost:
        """What all sessions have cost by now, the tokens of open parts left out."""
        return PastCost(
            seconds=self.before.seconds + monotonic() - self.started - self.shared_seconds,
            tokens=self.before.tokens + self.closed.tokens,
            retokenized=self.before.retokenized + self.closed.retokenized,
            accelerator=self.accelerator or self.before.accelerator,
        )

    def has(self, number: int) -> bool:
        """Whether this row was made already, or is for another process to make."""
        part = number // self.plan.part_rows
        if self.share is not None and not self._takes(part, self.share):
            return True
        return part in self.files or (part in self.open_parts and number in self.open_parts[part].rows)

    def add(self, number: int, row: Row, cost: Cost = FREE) -> None:
        """Takes a finished row; from here on a kill loses neither it nor what it has cost. Closes its part when that is full."""
        part = number // self.plan.part_rows
        made = self.open_parts.setdefault(part, OpenPart())
        made.rows[number] = row
        made.costs.add(cost)
        self.rows_done += 1
        if len(made.rows) == self.plan.part_rows:
            self._close(part)
        else:
            self._write_journal(part, number, row, cost)

    def take_up(self, part: int) -> None:
        """Takes what other processes have made of a part by now, in place of what was there of it before."""
        tokens = self.tokens
        self.rows_done -= len(self.open_parts.pop(part, OpenPart()).rows)
        if (whole := whole_part(self.folder, self.plan, part)) is not None:
            self.files[part] = whole
            self.rows_done += whole.rows
        elif (left := journalled(self.folder, part)) is not None:
            self.open_parts[part] = left
            self.rows_done += len(left.rows)
            self.before = self.before.model_copy(update={"seconds": max(self.before.seconds, left.seconds)})
        self._tokens_before += self.tokens - tokens

    def close_last(self, rows: int) -> None:
        """Closes the parts still open, now that the dataset is known to have this many rows.

        Raises DatasetError if one of them was never made.
        """
        own = rows if self.share is None else self._rows_of_share(rows)
        missing = own - self.rows_done
        if missing:
            raise DatasetError(f"{self.folder}: {missing} of {own} rows were not made; run the same command again")
        for part in sorted(self.open_parts):
            self._close(part)

    def write_part(self, part: int, table: pa.Table) -> None:
        """Writes a part whose rows are all here; several threads may at once.

        Raises SchemaError if they are not of the table.
        """
        self.check(table, self.schema)
        self.files[part] = write_parquet(self.folder / part_name(part), table, self.schema, fingerprint=self.plan.identity.fingerprint)

    def check(self, table: pa.Table, against: Schema) -> None:
        """Raises SchemaError if rows are not of this schema."""
        # Several threads write at once, and a cursor is one thread's.
        with self.con.cursor() as con:
            against.check(con.from_arrow(table), place=str(self.folder))

    def finish(self, found: StageSummary) -> None:
        """Writes the manifest, after which this is a dataset, and removes what only making it needed."""
        files = tuple(self.files[part] for part in sorted(self.files))
        done, others = self.done, self.others
        accelerator = done.accelerator or others.accelerator
        manifest = Manifest(
            table=self.plan.table,
            fingerprint=self.plan.identity.fingerprint,
            identity=self.plan.identity,
            origin=found.origin,
            rows_in=found.rows_in,
            rows=sum(record.rows for record in files),
            outcomes=self._outcomes(found.outcome),
            facts=dict(found.facts),
            warnings=found.warnings,
            files=files,
            seconds=round(done.seconds + others.seconds, 3),
            tokens=done.tokens + others.tokens,
            retokenized=done.retokenized + others.retokenized,
            deterministic=found.exact and accelerator is None,
            created=datetime.now(UTC),
            host=host(accelerator),
            versions=versions(),
            git_commit=git_commit(),
        )
        write_text(self.folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
        self.close()
        rmtree(self.folder / WORK, ignore_errors=True)

    def _outcomes(self, expression: str) -> dict[str, int]:
        if not self.files:
            return {}
        rows = self.con.read_parquet([str(self.folder / record.name) for record in self.files.values()])
        counts = rows.aggregate(f"{expression} AS outcome, count(*) AS rows", "outcome").order("rows DESC, outcome").fetchall()
        return {str(outcome): int(count) for outcome, count in counts}

    def close(self) -> None:
        """Closes the journals, and notes what this session has cost; what stands in them stays."""
        for journal in self.journals.values():
            journal.close()
        self.journals.clear()
        self.con.close()
        if not (self.folder / MANIFEST).is_file():
            # On a full disk the note is lost, and the error that says so is on its way already.
            with suppress(DatasetError):
                write_text(self.work / DONE, self.done.model_dump_json())

    def _takes(self, part: int, share: PartShare) -> bool:
        """Whether the part belongs to the share; what earlier sessions made of it is taken up as it is reached."""
        if part not in self._taken and self._taken.setdefault(part, share.takes(part)):
            self.take_up(part)
        return self._taken[part]

    def _rows_of_share(self, rows: int) -> int:
        sizes = {part: min(self.plan.part_rows, rows - part * self.plan.part_rows) for part, taken in self._taken.items() if taken}
        return sum(sizes.values())

    def _close(self, part: int) -> None:
        made = self.open_parts[part]
        table = arrow_table([made.rows[number] for number in sorted(made.rows)], self.schema, place=str(self.folder))
        self.write_part(part, table)
        del self.open_parts[part]
        self.closed.tokens += made.costs.tokens
        self.closed.retokenized += made.costs.retokenized
        if part in self.journals:
            self.journals.pop(part).close()
        journal_path(self.folder, part).unlink(missing_ok=True)
        write_text(self.work / DONE, self.done.model_dump_json())

    def _write_journal(self, part: int, number: int, row: Row, cost: Cost) -> None:
        try:
            if part not in self.journals:
                # Unbuffered: what is written is with the system at once, and survives a kill.
                self.journals[part] = journal_path(self.folder, part).open("ab", buffering=0)
            line = orjson.dumps((number, row, cost.tokens, cost.retokenized, round(self.done.seconds, 3)), option=orjson.OPT_APPEND_NEWLINE)
            while line:
                line = line[self.journals[part].write(line) :]
        except OSError as error:
            raise disk_error(journal_path(self.folder, part), error) from error
