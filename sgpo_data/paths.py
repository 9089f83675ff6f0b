"""Local paths as they are written: one that the file system can be asked about, or one line."""

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from sgpo_data.errors import DatasetError

SHOWN_CHARACTERS = 80
CLOSEST = 5
"""Names that are close enough to be looked at."""


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


def missing_path(path: Path) -> str:
    """What to say of a path that leads to nothing."""
    near = nearby(path)
    return f"no such file or folder: {path}" + (f"; {near}" if near else "")


def nearby(path: Path, fits: Callable[[Path], bool] = Path.exists) -> str:
    """`did you mean ...?` for the path that this one, which leads to nothing, is closest to; empty where none is close.

    One name of it can be mistyped, of a folder or of what is in it. `fits` tells whether a path is of the kind that is looked for.
    """
    names: list[str] = []
    while not path.parent.is_dir() and path != path.parent:
        names.insert(0, path.name)
        path = path.parent
    try:
        there = [each.name for each in path.parent.iterdir()]
    except OSError:
        return ""
    close = (path.with_name(name).joinpath(*names) for name in get_close_matches(path.name, there, n=CLOSEST))
    meant = next((each for each in close if fits(each)), None)
    return "" if meant is None else f"did you mean {meant}?"


def bracketed(near: str) -> str:
    """The same inside of a sentence."""
    return f" ({near})" if near else ""
