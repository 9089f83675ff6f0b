"""Files of a model as libraries read them: whatever one raises at a file that is broken is one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sgpo_data.errors import ModelError, SgpoError, first_line, got

GENERATION = "generation_config.json"


@contextmanager
def read_by_library(what: str) -> Iterator[None]:
    """Raises ModelError that begins with `what` for whatever is raised inside."""
    try:
        yield
    except SgpoError:
        raise
    except Exception as error:
        # Files come from anywhere, and there is no end to what their readers trip over: types, pickles, validators, packages that are missing.
        said = f"{first_line(error)} is not there, or not known" if isinstance(error, KeyError) else first_line(error)
        raise ModelError(f"{what}: {said}") from error


def check_generation_config(folder: Path) -> None:
    """Nothing if the ids that end an answer can be read; transformers takes a file that it cannot read for none, without a word.

    Raises ModelError.
    """
    path = folder / GENERATION
    if not path.is_file():
        return
    with read_by_library(f"{path}: cannot be read"):
        content = json.loads(path.read_bytes())
    if not isinstance(content, dict):
        raise ModelError(f"{path}: is no object {got(content)}; give the file that goes with the model, or none")
    ids = content.get("eos_token_id")
    listed = ids if isinstance(ids, list) else [] if ids is None else [ids]
    if not all(isinstance(each, int) and not isinstance(each, bool) for each in listed):
        raise ModelError(f"{path}: eos_token_id is no token number {got(ids)}; give the numbers of the tokens that end an answer")
