"""A folder claimed for one fingerprint: by one process at a time, and never one that holds something else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sgpo_data.dataset import WORK
from sgpo_data.errors import DatasetError
from sgpo_data.lock import held
from sgpo_data.manifest import MANIFEST, Identity
from sgpo_data.parquet import write_text

PLAN = "plan.json"


class Intent(BaseModel):
    """What an unfinished folder is to become."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: Identity


Planned = TypeVar("Planned", bound=Intent)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """The folder, with its work folder, for this process alone.

    Raises DatasetError if it holds something that is not ours, if another process is making it, or if it can not be written.
    """
    _refuse_foreign(folder)
    with held(folder, folder / WORK / "lock", folder / WORK / "holder.json"):
        yield


def frozen_plan(folder: Path, wanted: Planned, *, begun: bool) -> Planned:
    """The plan this folder was begun with, which is `wanted` if it is new or if nothing was begun that another plan would lose.

    Raises DatasetError if it was begun for another fingerprint.
    """
    path = folder / WORK / PLAN
    if not (begun and path.is_file()):
        write_text(path, wanted.model_dump_json(indent=2))
        return wanted
    try:
        frozen = type(wanted).model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DatasetError(f"{path}: not a plan of this version; remove {folder} and run the same command again") from error
    refuse_other(folder, frozen.identity, wanted.identity)
    return frozen


def refuse_other(folder: Path, there: Identity, wanted: Identity) -> None:
    """Nothing if both are one fingerprint.

    Raises DatasetError, with what sets them apart.
    """
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
