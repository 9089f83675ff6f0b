"""The record of a model: from what and how it was trained, as lines or as JSON."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from sgpo_data.references.model import find_model, model_manifest
from sgpo_data.store.manifest import ModelManifest

from .closed_pipe import closed_pipe_allowed
from .formats import json_value
from .look import WIDEST, wrapped
from .printable import cut, printable, printable_json

VALUE_CHARACTERS = 200
LEFT_OUT = {"files", "versions", "host", "config"}


def show_model(folder: Path, *, as_json: bool) -> None:
    """Prints what is known of a model.

    Raises DatasetError if its weights are not those that were trained.
    """
    identity, manifest = find_model(str(folder)).record.identity, model_manifest(folder)
    with closed_pipe_allowed():
        if as_json:
            known = manifest.model_dump(mode="json", exclude=LEFT_OUT) if manifest else {}
            # The record of what decided it gives way to the name it goes by, as everywhere else.
            print(printable_json(json.dumps(json_value({"model": str(folder), **known, "recipe": known.get("identity"), "identity": identity}))))
            return
        width = max(min(shutil.get_terminal_size((WIDEST, 40)).columns, WIDEST), 40)
        for name, value in _facts(folder, identity, manifest):
            for line in wrapped(f"{name:<16}{printable(cut(value, VALUE_CHARACTERS))}", width, indent=18, first=2):
                print(line)


def _facts(folder: Path, identity: str, manifest: ModelManifest | None) -> Iterator[tuple[str, str]]:
    yield "model", str(folder)
    yield "identity", identity
    yield "size", f"{sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6:.1f} MB"
    if manifest is None:
        yield "made by", "another program: there is no record of its training"
        return
    yield "fingerprint", manifest.fingerprint + ("" if manifest.deterministic else " (the same recipe, not always the same weights)")
    for role, record in manifest.identity.models.items():
        yield role, f"{record.identity} ({record.location})"
    if manifest.origin:
        yield "origin", f"{manifest.origin.identity} ({manifest.origin.location})"
    yield "trained on", ", ".join(f"{record.reference} ({record.made_name})" for record in manifest.identity.inputs)
    yield "rows", f"{manifest.rows}, {manifest.left_out} longer than max_tokens left out"
    if isinstance(manifest.identity.fields, dict):
        for name, value in manifest.identity.fields.items():
            yield name, json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    yield "last metrics", ", ".join(f"{name} {value:.4g}" for name, value in manifest.metrics.items()) or "none"
    yield "made", f"{manifest.created:%Y-%m-%d %H:%M} UTC in {manifest.seconds:.1f} s, {manifest.tokens} tokens"
