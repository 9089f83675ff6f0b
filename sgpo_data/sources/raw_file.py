"""A raw file as it was when its content was hashed."""

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from sgpo_data.errors import DatasetError
from sgpo_data.store.pointers import pointer_fault

COMPRESSIONS: dict[str, Literal["detect", "gzip", "zstd", "bz2"]] = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file as it was when its content was hashed."""

    path: Path
    name: str
    """Relative to the folder that was named, with forward slashes."""
    digest: str
    stamp: tuple[int, int]
    """Size in bytes and time of change in nanoseconds."""

    @classmethod
    def hashed(cls, path: Path, name: str) -> Self:
        """The file as it is now; raises DatasetError if it cannot be read, or is a Git LFS pointer."""
        if fault := pointer_fault(path):
            raise DatasetError(f"{name}: {fault}")
        with readable(name), path.open("rb") as file:
            return cls(path, name, hashlib.file_digest(file, "sha256").hexdigest(), _stamp(path))

    def refuse_changed(self) -> None:
        """Raises DatasetError if it is no longer what was hashed."""
        with readable(self.name):
            if _stamp(self.path) != self.stamp:
                raise DatasetError(f"{self.name}: changed while it was read; run again")


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turns what the system says of a file of this name into DatasetError."""
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{name}: cannot be read: {error.strerror or error}") from error


def refuse_twice(names: tuple[str, ...], columns: Collection[str], place: str) -> None:
    """Raises DatasetError if two columns of one name could be read; those that nobody reads may be many."""
    twice = sorted({name for name in names if name in columns and names.count(name) > 1})
    if twice:
        raise DatasetError(f"{place}: two columns are called {', '.join(map(repr, twice))}; rename one")
