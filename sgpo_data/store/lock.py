"""Work that one process does at a time, and who is doing it."""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import filelock
from pydantic import BaseModel, ConfigDict, ValidationError

from sgpo_data.errors import DatasetError
from sgpo_data.names import remote
from sgpo_data.paths import local_path
from sgpo_data.store.dataset import WORK
from sgpo_data.store.files import disk_error, write_text
from sgpo_data.store.manifest import MANIFEST, Identity

log = logging.getLogger(__name__)


class Holder(BaseModel):
    """The process that is doing it."""

    process: int
    host: str
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} since {self.since} ({self.command})"


@contextmanager
def held(folder: Path, lock: Path, holder: Path, *, seconds: float = 0) -> Iterator[None]:
    """The work of `folder` for this process alone, as long as it lives: a kill frees it.

    Raises DatasetError, which names the process, if another one has it for longer than `seconds`.
    """
    try:
        taken = filelock.FileLock(lock)
        try:
            _take(taken, lock, 0)
        except filelock.Timeout:
            if seconds:
                log.info("%s: waits for %s", folder, named_holder(holder))
            _take(taken, lock, seconds)
    except filelock.Timeout as error:
        raise DatasetError(f"{folder}: is being made by {named_holder(holder)}; wait for it, or stop it and run the same command again") from error
    except OSError as error:
        raise disk_error(folder, error) from error
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])
        write_text(holder, Holder(process=os.getpid(), host=socket.gethostname(), since=since, command=command).model_dump_json())
        yield
    finally:
        taken.release()


def _take(taken: filelock.BaseFileLock, lock: Path, seconds: float) -> None:
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            taken.acquire(timeout=seconds)
        except FileNotFoundError:
            # Whoever had it has finished, and its work folder is gone with the lock.
            continue
        return


def named_holder(holder: Path) -> str:
    """Who wrote this file when it took a lock."""
    try:
        return str(Holder.model_validate_json(holder.read_bytes()))
    except (OSError, ValidationError):
        return "another process"


PLAN = "plan.json"
READING_SECONDS = 3600.0
"""The longest wait for another process that reads the same input, as the shares of a dataset do when they begin."""


class Intent(BaseModel):
    """What an unfinished folder is to become."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: Identity


Planned = TypeVar("Planned", bound=Intent)


@contextmanager
def claimed(folder: Path, *, seconds: float = 0) -> Iterator[None]:
    """The folder, with its work folder, for this process alone.

    Raises DatasetError if it holds something that is not ours, if another process is making it for longer than `seconds`, or if it cannot be written.
    """
    _refuse_foreign(local_path(folder))
    with held(folder, folder / WORK / "lock", folder / WORK / "holder.json", seconds=seconds):
        yield


def freeze_plan(folder: Path, wanted: Planned, *, begun: bool) -> Planned:
    """The plan this folder was begun with, which is `wanted` if nothing was begun that another plan would lose.

    Raises DatasetError if it was begun for another fingerprint, or if the plan is lost.
    """
    path = folder / WORK / PLAN
    if begun and not path.is_file():
        raise DatasetError(f"{folder}: begun, but {WORK}/{PLAN} is gone, so nothing tells what its parts were made with; remove the folder, or give another -o")
    if not begun:
        write_text(path, wanted.model_dump_json(indent=2))
        return wanted
    try:
        frozen = type(wanted).model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DatasetError(f"{path}: not a plan of this version; remove {folder} and run the same command again") from error
    refuse_other(folder, frozen.identity, wanted.identity)
    return frozen


def refuse_other(folder: Path | str, there: Identity, wanted: Identity) -> None:
    """Nothing if both are one fingerprint.

    Raises DatasetError, with what sets them apart.
    """
    if there.fingerprint != wanted.fingerprint:
        changes = "; ".join(change if len(change) < 160 else f"{change[:160]}..." for change in there.differences(wanted)[:4])
        raise DatasetError(f"{folder}: belongs to another fingerprint, {there.made_name}, not {wanted.made_name} ({changes}); give another -o, or remove it")


def _refuse_foreign(folder: Path) -> None:
    scheme, *rest = folder.parts or ("",)
    if remote(f"{scheme}//"):
        raise DatasetError(f"{scheme}//{'/'.join(rest)}: only seed, improve, score-ppl, filter and pair write there; give a folder for -o")
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder}: is a file; give a folder for -o")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / WORK).is_dir() and not (folder / MANIFEST).is_file():
        raise DatasetError(f"{folder}: is not empty, and no dataset; give an empty or a new folder for -o")
