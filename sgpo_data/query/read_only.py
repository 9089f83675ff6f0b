"""Files for DuckDB that can be read and nothing else, under names that lead nowhere else."""

import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from io import SEEK_CUR, SEEK_END, SEEK_SET, RawIOBase
from pathlib import Path
from typing import ClassVar

from fsspec import AbstractFileSystem

SCHEME = "sgpo"


class ReadOnlyFiles(AbstractFileSystem):  # type: ignore[misc]
    """A file system of these files by these names, in which nothing can be written, made, moved or removed.

    DuckDB's allowed_paths opens a path for writing too; a path of this file system cannot be, whatever a query says.
    """

    protocol: ClassVar[str] = SCHEME
    cachable: ClassVar[bool] = False

    def __init__(self, files: Mapping[str, Path]) -> None:
        super().__init__()
        self.files = dict(files)

    def open(self, path: str, mode: str = "rb", **_: object) -> RawIOBase:
        """The file, for reading.

        Raises PermissionError for any other mode, FileNotFoundError for any other name.
        """
        if mode != "rb":
            raise PermissionError(f"{path}: can only be read")
        return _ReadOnlyFile(self._place(path))

    def exists(self, path: str, **_: object) -> bool:
        """Whether this name is one of them."""
        return str(self._strip_protocol(path)) in self.files

    def glob(self, path: str, **_: object) -> list[str]:
        """The name itself: there are no patterns here."""
        return [path] if self.exists(path) else []

    def info(self, path: str, **_: object) -> dict[str, object]:
        """Name, size and type."""
        return {"name": path, "size": self._place(path).stat().st_size, "type": "file"}

    def modified(self, path: str) -> datetime:
        """When the file was last written."""
        return datetime.fromtimestamp(self._place(path).stat().st_mtime, UTC)

    def _place(self, path: str) -> Path:
        place = self.files.get(str(self._strip_protocol(path)))
        if place is None:
            raise FileNotFoundError(f"{path}: no such file")
        return place


class _ReadOnlyFile(RawIOBase):
    """A file with a position for each thread: DuckDB shares one among its threads, and seeks and reads in two calls."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.size = os.fstat(self.descriptor).st_size
        self.position = threading.local()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(getattr(self.position, "at", 0))

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        start = {SEEK_SET: 0, SEEK_CUR: self.tell(), SEEK_END: self.size}[whence]
        self.position.at = start + offset
        return start + offset

    def read(self, size: int = -1) -> bytes:
        at = self.tell()
        found = os.pread(self.descriptor, self.size - at if size < 0 else size, at)
        self.position.at = at + len(found)
        return found

    def close(self) -> None:
        if not self.closed:
            os.close(self.descriptor)
        super().close()
