"""Small files that are whole or absent, and digests."""

import hashlib
import os
from pathlib import Path

from sgpo_data.errors import DatasetError


def write_text(path: Path, text: str) -> None:
    """Writes a small file that appears under its name only when it is whole and on the disk.

    Raises DatasetError if the disk does not take it.
    """
    aside = path.with_name(f".{path.name}.writing")
    try:
        aside.write_text(text, encoding="utf-8")
        put_in_place(aside, path)
    except OSError as error:
        raise disk_error(path, error) from error


def put_in_place(aside: Path, path: Path) -> None:
    """Syncs the file, gives it its name, and syncs the name."""
    _sync(aside)
    aside.replace(path)
    _sync(path.parent)


def disk_error(path: Path, error: OSError) -> DatasetError:
    """What to tell of a disk that is full, read-only or failing."""
    return DatasetError(f"{path}: cannot be written ({error.strerror or error}); make room or give another place, then run the same command again")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
