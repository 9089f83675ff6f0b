"""The prompts of a raw source, as a dataset in the store."""

from collections.abc import Iterator
from functools import partial
from itertools import islice

import pyarrow as pa

from sgpo_data.dataset import Dataset
from sgpo_data.execution import Execution
from sgpo_data.manifest import Identity, InputRecord
from sgpo_data.parquet import arrow_table
from sgpo_data.reading import Source
from sgpo_data.resume import make
from sgpo_data.schema import schema
from sgpo_data.source import OpenedSource, open_source
from sgpo_data.unfinished import Found, Unfinished

REVISION = 1
"""Raised when the same source begins to give other prompts."""
PART_ROWS = 131072
BATCH_ROWS = 1024


def read_prompts(reference: str, source: Source, execution: Execution) -> Dataset:
    """Table prompts of a file, a folder or a Hub dataset, read now unless it was read before.

    Raises DatasetError or SchemaError if the source is missing or not of a shape we know, HubError if the Hub can not be asked.
    """
    opened = open_source(reference, source)
    origin = InputRecord(reference=reference, table=None, fingerprint=opened.identity)
    identity = Identity(stage="source", revision=REVISION, fields=source.model_dump(mode="json"), inputs=(origin,), models={})
    folder = execution.store / f"prompts@{identity.fingerprint[:8]}"
    return make(folder, identity, table="prompts", part_rows=PART_ROWS, work=partial(_read, opened))


def _read(opened: OpenedSource, into: Unfinished) -> Found:
    read = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal read
        rows = opened.rows()
        while batch := list(islice(rows, BATCH_ROWS)):
            read += sum(row["count"] for row in batch)
            yield from arrow_table(batch, schema("prompts"), place=opened.reference).to_batches()

    into.write_all(pa.RecordBatchReader.from_batches(schema("prompts").arrow, batches()))
    return Found(rows_in=read, outcome="'prompt'")
