"""What lies in the store and no recipe uses."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import filelock

from sgpo_data.errors import DatasetError
from sgpo_data.loop.folder import used_names
from sgpo_data.store.dataset import WORK
from sgpo_data.store.shares import refuse_live_shares
from sgpo_data.store.state import State, state

REMOVED = ".removed-"
"""What a folder is called while it is deleted: a kill leaves nothing that looks whole."""


@dataclass(frozen=True)
class UnusedFolder:
    """A folder of the store that no recipe uses."""

    folder: Path
    state: State
    bytes: int
    changed: datetime
    """Newest time of a file in it."""
    in_use: bool
    """Whether a process is making it right now."""


def unused(root: Path) -> list[UnusedFolder]:
    """Every folder of the store that no recipe of the root uses, the largest first.

    Raises DatasetError if what a recipe uses cannot be told.
    """
    used = used_names(root)
    store = root / "store"
    folders = [folder for folder in sorted(store.iterdir()) if folder.is_dir() and folder.name not in used] if store.is_dir() else []
    return sorted((_looked_at(folder) for folder in folders), key=lambda found: -found.bytes)


def delete(found: UnusedFolder) -> None:
    """Removes the folder, unless a process is making it.

    Raises DatasetError if it is being made, or cannot be removed.
    """
    lock = filelock.FileLock(found.folder / WORK / "lock", timeout=0)
    try:
        if (found.folder / WORK).is_dir():
            lock.acquire()
            refuse_live_shares(found.folder)
        aside = found.folder if found.folder.name.startswith(REMOVED) else found.folder.with_name(REMOVED + found.folder.name)
        found.folder.replace(aside)
        shutil.rmtree(aside)
    except filelock.Timeout as error:
        raise DatasetError(f"{found.folder}: is being made right now; run sgpo gc again when it is done") from error
    except OSError as error:
        raise DatasetError(f"{found.folder}: cannot be removed ({error.strerror or error}); remove it by hand") from error
    finally:
        lock.release()


def _looked_at(folder: Path) -> UnusedFolder:
    stats = [path.lstat() for path in (folder, *folder.rglob("*")) if path.is_file() or path == folder]
    size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    return UnusedFolder(folder, state(folder), size, datetime.fromtimestamp(max(found.st_mtime for found in stats), UTC), _is_held(folder))


def _is_held(folder: Path) -> bool:
    path = folder / WORK / "lock"
    if not path.is_file():
        return False
    lock = filelock.FileLock(path, timeout=0)
    try:
        with lock:
            refuse_live_shares(folder)
            return False
    except (filelock.Timeout, DatasetError):
        return True
    except OSError:
        return True
