"""A dataset as the input of a stage."""

from dataclasses import dataclass
from pathlib import Path

from sgpo_data.store.dataset import Readable
from sgpo_data.store.manifest import InputRecord, ModelRecord


@dataclass(frozen=True)
class JobInput:
    """An input of a job: a dataset that exists, or one that an earlier job will make."""

    record: InputRecord
    folder: Path
    origin: ModelRecord | None
    """The model that the lineage began with."""
    policy: ModelRecord | None
    """The model that wrote its responses."""
    dataset: Readable | None = None
    """None if it does not exist yet."""
    flag: str = ""
    """That it is given by; empty where the command takes it as an argument."""


def input_of(dataset: Readable, reference: str) -> JobInput:
    """A dataset that is made, as an input; of a place on the Hub its commit is recorded, whatever it was called by."""
    manifest = dataset.manifest
    record = InputRecord(reference=dataset.place or reference, table=manifest.table, fingerprint=manifest.fingerprint)
    return JobInput(record, dataset.folder, manifest.origin, manifest.identity.models.get("policy"), dataset)
