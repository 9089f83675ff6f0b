"""Work that one process does at a time, and who is doing it."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import filelock
from pydantic import BaseModel, ValidationError

from sgpo_data.errors import DatasetError
from sgpo_data.parquet import disk_error, write_text


class Holder(BaseModel):
    """The process that is doing it."""

    process: int
    host: str
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} since {self.since} ({self.command})"


@contextmanager
def held(folder: Path, lock: Path, holder: Path) -> Iterator[None]:
    """The work of `folder` for this process alone, as long as it lives: a kill frees it.

    Raises DatasetError, which names the process, if another one has it.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        taken = filelock.FileLock(lock, timeout=0)
        taken.acquire()
    except filelock.Timeout as error:
        raise DatasetError(f"{folder}: is being made by {_named(holder)}; wait for it, or stop it and run the same command again") from error
    except OSError as error:
        raise disk_error(folder, error) from error
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])
        write_text(holder, Holder(process=os.getpid(), host=socket.gethostname(), since=since, command=command).model_dump_json())
        yield
    finally:
        taken.release()


def _named(holder: Path) -> str:
    try:
        return str(Holder.model_validate_json(holder.read_bytes()))
    except (OSError, ValidationError):
        return "another process"
