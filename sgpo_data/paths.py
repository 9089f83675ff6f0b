"""Local paths as they are written: one that the file system can be asked about, or one line."""

import os
from pathlib import Path

from sgpo_data.errors import DatasetError

SHOWN_CHARACTERS = 80


def local_path(reference: str | Path) -> Path:
    """The path that a reference stands for, `~` expanded; it may lead to nothing.

    Raises DatasetError if no file system holds such a name, or if what it leads to may not be looked at.
    """
    written = str(reference)
    shown = written if len(written) <= SHOWN_CHARACTERS else written[:SHOWN_CHARACTERS] + "..."
    if "\0" in written or any("\ud800" <= character <= "\udfff" for character in written):
        raise DatasetError(f"{shown}: holds a character that is in no file name (NUL, or bytes that are not UTF-8); rename it, or give another place")
    try:
        path = Path(written).expanduser()
    except RuntimeError as error:
        raise DatasetError(f"{shown}: there is no such user on this machine; write the folder out") from error
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except OSError as error:
        raise DatasetError(f"{shown}: cannot be looked at ({error.strerror or error}); give another place, or change its permissions") from error
    if not os.access(path, os.R_OK | (os.X_OK if (found.st_mode & 0o170000) == 0o040000 else 0)):
        raise DatasetError(f"{shown}: may not be read by you; change its permissions")
    return path
