"""The folder of a run, and of its steps."""

import re
from pathlib import Path

from sgpo_data.errors import DatasetError
from sgpo_data.paths import local_path

STEP = re.compile(r"(?P<phase>.+)-(?P<round>\d+)")
QUESTIONS, ANSWERS, BASELINE_ANSWERS = "questions", "answers", "baseline"
"""What a round calls the prompts of its evaluation, what its model answers to them, and what the model that it is compared with does."""
REWRITES, VERDICTS = "rewrites", "verdicts"
"""What a round calls the comparisons of its rewrites with their responses, and what the judge of the phase says of them."""
ROLES = (QUESTIONS, ANSWERS, BASELINE_ANSWERS, REWRITES, VERDICTS)
"""Datasets that a round names by what they are to it; it names all others by their table."""


def run_folder(run: str, root: Path) -> Path:
    """The folder of a run, by its name in the root or by its place.

    Raises DatasetError if there is none.
    """
    folder = next((place for place in (local_path(root / run), local_path(run)) if place.is_dir()), None)
    if folder is None:
        known = sorted(place.name for place in root.iterdir() if place.is_dir() and place.name not in ("store", "frames")) if root.is_dir() else []
        raise DatasetError(f"{run}: no such run in {root}; " + (f"there are {', '.join(known)}" if known else "make one with: sgpo run RECIPE"))
    return folder
