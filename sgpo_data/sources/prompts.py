"""The prompts of a raw source, as a dataset in the store."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from sgpo_data.execution import Execution
from sgpo_data.names import MadeName
from sgpo_data.schema import schema
from sgpo_data.sources.left_out import LeftOut
from sgpo_data.sources.options import Source
from sgpo_data.sources.source import OpenedSource, open_source
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.input import Given
from sgpo_data.store.manifest import Identity, InputRecord
from sgpo_data.store.resume import make
from sgpo_data.store.unfinished import Found, Unfinished

log = logging.getLogger(__name__)

REVISION = 1
"""Raised when the same source begins to give other prompts."""
OUTCOME = "CASE WHEN contaminated_by IS NOT NULL THEN 'contaminated' WHEN duplicate_of IS NOT NULL THEN 'duplicate' ELSE 'prompt' END"
PART_ROWS = 131072


@dataclass(frozen=True)
class PromptsJob:
    """The prompts of an opened source, to be read."""

    opened: OpenedSource

    @property
    def identity(self) -> Identity:
        """All that decides the prompts; what named a Hub dataset does not count beside its commit."""
        origin = InputRecord(reference=self.opened.reference, table=None, fingerprint=self.opened.identity)
        fields = self.opened.source.model_dump(mode="json", exclude={"config", "split", "revision", "decontaminate"})
        sets = [InputRecord(reference=each.entry.path, table=None, fingerprint=each.opened.identity) for each in self.opened.evaluation]
        # Their order counts: a prompt that overlaps with several is marked by the first.
        read = [{"name": each.name, **each.opened.source.model_dump(mode="json", include={"shape", "columns"})} for each in self.opened.evaluation]
        version = schema("prompts").version
        return Identity(stage="source", revision=REVISION, schema_version=version, fields={**fields, "decontaminate": read}, inputs=(origin, *sets), models={})

    @property
    def name(self) -> str:
        """Name of its folder in the store."""
        return str(MadeName.made("prompts", self.identity.fingerprint))

    def output(self, folder: Path) -> Given:
        """What it makes, as the input of the next job."""
        return Given(InputRecord(reference=str(folder), table="prompts", fingerprint=self.identity.fingerprint), folder, None, None)


def read_prompts(reference: str, source: Source, execution: Execution) -> Dataset:
    """Table prompts of a file, a folder or a Hub dataset, read now unless it was read before.

    Raises DatasetError or SchemaError if the source is missing or not of a shape we know, HubError if the Hub cannot be asked.
    """
    job = PromptsJob(open_source(reference, source))
    return do_prompts(job, execution.store / job.name)


def do_prompts(job: PromptsJob, folder: Path) -> Dataset:
    """The prompts of this job in this folder, read now unless they were read before."""
    return make(folder, job.identity, table="prompts", part_rows=PART_ROWS, work=partial(_read, job.opened))


def _read(opened: OpenedSource, into: Unfinished) -> Found:
    read = rows = 0
    left_out = LeftOut(opened.reference)

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal read, rows
        for batch in opened.batches(left_out):
            read += pc.sum(batch.column("count")).as_py() or 0
            rows += batch.num_rows
            yield batch

    into.write_all(pa.RecordBatchReader.from_batches(schema("prompts").arrow, batches()))
    if read > rows:
        log.info("%s: %d of %d rows have the prompt and the answers of another, and are merged with it", opened.reference, read - rows, read)
    return Found(rows_in=read, outcome=OUTCOME, warnings=tuple(left_out.warnings))
