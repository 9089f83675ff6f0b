"""What processes that make a dataset together leave in its work folder: who makes which share, at what cost, and what it is finished with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
from pydantic import BaseModel, ConfigDict, TypeAdapter

from sgpo_data.errors import DatasetError
from sgpo_data.store.cost import PastCost, done_before
from sgpo_data.store.dataset import WORK
from sgpo_data.store.files import write_text
from sgpo_data.store.lock import held, named_holder
from sgpo_data.store.share import PartRange, PartShare
from sgpo_data.store.unfinished import StageSummary

SHARES = "shares"
EXPECTED = "expected.json"
WORKER = "ray-"
"""With its number, the place of a worker of a cluster."""
ORPHAN_SECONDS = 60.0
"""How long a worker may live on when its driver, or the cluster, takes it for dead."""
LOCK, HOLDER = "lock", "holder.json"


class Expected(BaseModel):
    """What a dataset is finished with, noted by its shares before their first row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    summary: dict[str, object]

    @classmethod
    def of(cls, rows: int, summary: StageSummary) -> Expected:
        """Of a dataset that will have so many rows."""
        return cls(rows=rows, summary=TypeAdapter(StageSummary).dump_python(summary, mode="json"))

    @classmethod
    def read(cls, folder: Path) -> Expected | None:
        """What the shares of this folder noted; None if it has none."""
        path = folder / WORK / EXPECTED
        return cls.model_validate_json(path.read_bytes()) if path.is_file() else None

    def write(self, folder: Path) -> None:
        """Notes it; all shares note the same."""
        write_text(folder / WORK / EXPECTED, self.model_dump_json())

    @property
    def found(self) -> StageSummary:
        """What the stage knows of it besides its rows."""
        return TypeAdapter(StageSummary).validate_python(self.summary)


@contextmanager
def share_held(folder: Path, parts: PartRange) -> Iterator[PartShare]:
    """These parts of the dataset in this folder, for this process alone as long as it lives.

    Raises DatasetError, which names the process, if another one has the same.
    """
    place = folder / WORK / SHARES / f"{parts.index}-of-{parts.count}"
    with held(folder, place / LOCK, place / HOLDER):
        yield PartShare(place, parts.has)


@contextmanager
def worker_held(folder: Path, worker: int, takes: Callable[[int], bool]) -> Iterator[PartShare]:
    """What this worker of a cluster makes of the dataset in this folder, for this process alone as long as it lives.

    Raises DatasetError, which names the process, if one that was the same worker before lives on for too long.
    """
    place = folder / WORK / SHARES / f"{WORKER}{worker}"
    with held(folder, place / LOCK, place / HOLDER, seconds=ORPHAN_SECONDS):
        yield PartShare(place, takes)


def refuse_live_shares(folder: Path, *, beside: PartRange | None = None) -> None:
    """Nothing if no process is making a share of the dataset, or only such as the dataset is cut into beside these parts.

    Workers of a cluster whose driver is gone end by themselves, and are waited for. Raises DatasetError that names one.
    """
    for place in _places(folder):
        if beside is not None and place.name.endswith(f"-of-{beside.count}"):
            continue
        try:
            with filelock.FileLock(place / LOCK, timeout=ORPHAN_SECONDS if place.name.startswith(WORKER) else 0):
                pass
        except filelock.Timeout as error:
            raise DatasetError(
                f"{folder}: its share {place.name.replace('-of-', '/')} is being made by {named_holder(place / HOLDER)}; wait for it, or stop it and run "
                "the same command again"
            ) from error


def cost_of_shares(folder: Path) -> PastCost:
    """What all shares have cost, their seconds added up."""
    costs = [done_before(place) for place in _places(folder)]
    return PastCost(
        seconds=sum(cost.seconds for cost in costs),
        tokens=sum(cost.tokens for cost in costs),
        retokenized=sum(cost.retokenized for cost in costs),
        accelerator=next((cost.accelerator for cost in costs if cost.accelerator), None),
    )


def _places(folder: Path) -> list[Path]:
    return sorted((folder / WORK / SHARES).glob("*"))
