"""How far something in the store is made, as its folder tells: read without a plan of what it is."""

from pathlib import Path
from typing import Literal

from sgpo_data.store.dataset import WORK
from sgpo_data.store.lock import PLAN
from sgpo_data.store.manifest import MANIFEST

State = Literal["made", "resumes", "new"]


def state(folder: Path) -> State:
    """Whether it is made, was begun, or neither."""
    if (folder / MANIFEST).is_file():
        return "made"
    return "resumes" if (folder / WORK / PLAN).is_file() else "new"
