"""The toy world as files: its model and its prompts."""

import json
import shutil
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

from sgpo_data.engines.loading import check_installed
from sgpo_data.store.files import write_text
from sgpo_data.toy import corpus


def prompt_rows(seed: int, rows: int) -> Iterable[Mapping[str, object]]:
    """Prompts with references: rows of `messages` and `reference`."""
    return ({"messages": prompt.messages, "reference": prompt.reference.text} for prompt in islice(corpus.prompts(seed), rows))


def json_lines(rows: Iterable[Mapping[str, object]]) -> str:
    """Rows as the text of a JSONL file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_world(folder: Path, *, rows: int) -> list[Path]:
    """Writes the base model as `model` and this many prompts as `prompts.jsonl`, and returns what was not there yet.

    Each is whole or absent, so a kill leaves nothing that is half of one.

    Raises MissingExtraError if what the model is written with is not installed.
    """
    check_installed("transformers")
    from sgpo_data.toy.model import base_model

    model, prompts, aside = folder / "model", folder / "prompts.jsonl", folder / ".model.writing"
    folder.mkdir(parents=True, exist_ok=True)
    written = [path for path in (model, prompts) if not path.exists()]
    if model in written:
        shutil.rmtree(aside, ignore_errors=True)
        base_model(aside).rename(model)
    if prompts in written:
        write_text(prompts, json_lines(prompt_rows(0, rows)))
    return written
