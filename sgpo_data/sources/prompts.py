"""The prompts of a raw source, as a dataset in the store."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from sgpo_data.execution import Execution
from sgpo_data.names import HubRows, MadeName
from sgpo_data.schema import schema
from sgpo_data.sources.left_out import LeftOut
from sgpo_data.sources.options import Source
from sgpo_data.sources.source import OpenedSource, open_source
from sgpo_data.store.at_once import write_all
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.input import JobInput
from sgpo_data.store.lock import READING_SECONDS
from sgpo_data.store.manifest import Identity, InputRecord
from sgpo_data.store.resume import make
from sgpo_data.store.unfinished import StageSummary, Unfinished

log = logging.getLogger(__name__)

REVISION = 2
"""Raised when the same source begins to give other prompts."""
OUTCOME = "CASE WHEN contaminated_by IS NOT NULL THEN 'contaminated' WHEN duplicate_of IS NOT NULL THEN 'duplicate' ELSE 'prompt' END"
PART_ROWS = 131072
ONE_SOURCE = {"shape", "columns", "strict", "limit", "offset", "share"}
"""Options that each of several sources has for itself, but for those that its identity holds."""


@dataclass(frozen=True)
class PromptsJob:
    """The prompts of an opened source, to be read."""

    opened: OpenedSource

    @property
    def identity(self) -> Identity:
        """All that decides the prompts; what named a Hub dataset does not count beside its commit."""
        origin = InputRecord(reference=self.opened.reference, table=None, fingerprint=self.opened.identity)
        fields = self.opened.source.model_dump(mode="json", exclude={"config", "split", "revision", "decontaminate", "more"})
        others = [InputRecord(reference=each.entry.path, table=None, fingerprint=each.opened.identity) for each in self.opened.more]
        more = [{"name": each.name, **each.opened.source.model_dump(mode="json", include=ONE_SOURCE)} for each in self.opened.more]
        # One source alone is what it was before there could be several.
        fields |= {"more": more} if more else {}
        sets = [InputRecord(reference=each.entry.path, table=None, fingerprint=each.opened.identity) for each in self.opened.evaluation]
        # Their order counts: a prompt that overlaps with several is marked by the first.
        read = [{"name": each.name, **each.opened.source.model_dump(mode="json", include={"shape", "columns"})} for each in self.opened.evaluation]
        fields["decontaminate"], version = read, schema("prompts").version
        return Identity(stage="source", revision=REVISION, schema_version=version, fields=fields, inputs=(origin, *others, *sets), models={})

    @property
    def name(self) -> str:
        """Name of its folder in the store."""
        return str(MadeName.made("prompts", self.identity.fingerprint))

    @property
    def writes(self) -> str:
        """The table it makes."""
        return "prompts"

    @property
    def inputs(self) -> tuple[JobInput, ...]:
        """No dataset: what it reads is a raw source."""
        return ()

    @property
    def models(self) -> tuple[()]:
        """None."""
        return ()

    @property
    def loadings(self) -> tuple[()]:
        """None."""
        return ()

    @property
    def options(self) -> Source:
        """How the source is read, with its commit, and its evaluation sets with theirs."""
        hub = HubRows.parsed(self.opened.identity)
        entries = {"decontaminate": self.opened.evaluation, "more": self.opened.more}
        pinned: dict[str, object] = {key: tuple(each.pinned for each in opened) for key, opened in entries.items()}
        pinned |= {"revision": hub.commit} if hub else {}
        return self.opened.source.model_copy(update=pinned)

    @property
    def inlined(self) -> bool:
        """Yes: the stage that takes the prompts reads the source itself."""
        return True

    @property
    def costly(self) -> bool:
        """No: it runs no model."""
        return False

    @property
    def training(self) -> None:
        """None: it makes a dataset."""

    def check(self, execution: object) -> None:
        """Nothing: it runs no model."""

    def rows_made(self, rows: int) -> int | None:
        """Its rows as they are read if it is local; of a Hub dataset its limit, as an upper bound."""
        # To read a local source is the one way to know its rows, and refuses what the run would.
        return sum(batch.num_rows for batch in self.opened.batches()) if self.opened.local else None if self.opened.more else self.opened.source.limit

    def output(self, folder: Path) -> JobInput:
        """What it makes, as the input of the next job."""
        return JobInput(InputRecord(reference=str(folder), table="prompts", fingerprint=self.identity.fingerprint), folder, None, None)

    def make(self, folder: Path, execution: Execution, engines: object) -> Dataset:
        """The prompts in this folder, read now unless they were read before; no engine is used."""
        return make(folder, self.identity, table="prompts", part_rows=PART_ROWS, work=partial(_read, self.opened), seconds=READING_SECONDS)


def read_prompts(reference: str, source: Source, execution: Execution) -> Dataset:
    """Table prompts of a file, a folder, a Hub dataset or files in a bucket, read now unless it was read before.

    Raises DatasetError or SchemaError if the source is missing or not of a shape we know, HubError if the Hub cannot be asked.
    """
    job = PromptsJob(open_source(reference, source, store=execution.store))
    return job.make(execution.store / job.name, execution, None)


def _read(opened: OpenedSource, into: Unfinished) -> StageSummary:
    read = rows = 0
    left_out = LeftOut(opened.reference)

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal read, rows
        for batch in opened.batches(left_out):
            read += pc.sum(batch.column("count")).as_py() or 0
            rows += batch.num_rows
            yield batch

    write_all(into, pa.RecordBatchReader.from_batches(schema("prompts").arrow, batches()))
    if read > rows:
        log.info("%s: %d of %d rows have the prompt of another, and its answers or none, and are merged with it", opened.reference, read - rows, read)
    return StageSummary(rows_in=read, outcome=OUTCOME, warnings=tuple(left_out.warnings))
