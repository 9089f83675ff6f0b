"""A recipe as it was run: every value written out, so that it says the same elsewhere and later."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import tomli_w
from pydantic import JsonValue

from sgpo_data.execution import Execution
from sgpo_data.loop.folder import FROZEN
from sgpo_data.loop.plan import ReferenceCache, Step, plan_recipe
from sgpo_data.recipe.file import parsed
from sgpo_data.recipe.recipe import WORDS, Phase, Recipe
from sgpo_data.sources.options import EvaluationReference
from sgpo_data.stages.order import STAGES, model_roles


def frozen_text(recipe: Recipe, steps: Sequence[Step], folder: Path, *, known: ReferenceCache) -> str:
    """The recipe with nothing left to be guessed, as a file of `folder`: seeds, engines, commits, the texts of templates.

    Local paths are relative to that folder.
    """
    phases = tuple(_resolved(phase, steps) for phase in recipe.phases)
    whole = replace(recipe, phases=phases)
    data = {**_initial(whole, folder, known), "seed": recipe.seed, "phases": [_table(phase, whole, folder, known) for phase in phases]}
    text = tomli_w.dumps(data)
    # Long texts are readable only over several lines, which in TOML cannot hold a carriage return.
    return text if "\\r" in text else tomli_w.dumps(data, multiline_strings=True)


def reads_back(text: str, steps: Sequence[Step], folder: Path, execution: Execution, *, known: ReferenceCache) -> bool:
    """Whether this text, as a file of `folder`, plans the same fingerprints."""
    again = plan_recipe(parsed(text, folder / FROZEN), execution, known=known)
    return [step.job.identity.fingerprint for step in again] == [step.job.identity.fingerprint for step in steps]


def _resolved(phase: Phase, steps: Sequence[Step]) -> Phase:
    """The phase as its first round resolved it."""
    return phase.model_copy(update={step.key.replace("-", "_"): step.entry for step in steps if (step.phase, step.round) == (phase.name, 1)})


def _initial(recipe: Recipe, folder: Path, known: ReferenceCache) -> dict[str, JsonValue]:
    """The model of the recipe, with the adapter over it if there is one."""
    if recipe.adapter is None:
        return {"model": _moved(recipe.model, recipe, folder, known)}
    base, adapter = recipe.located(recipe.model), recipe.located(recipe.adapter)
    place = known.model(base, adapter).record.place
    names = zip(("model", "adapter"), (recipe.model, recipe.adapter), (base, adapter), (place.base, place.adapter or ""), strict=True)
    return {key: _moved(name, recipe, folder, known) if Path(there).exists() else location for key, name, there, location in names}


def _table(phase: Phase, recipe: Recipe, folder: Path, known: ReferenceCache) -> dict[str, JsonValue]:
    data = _without_none(phase.model_dump(mode="json", by_alias=True))
    train, source = data.get("train"), data.get("source")
    if isinstance(source, dict):
        source["path"] = _moved(str(source["path"]), recipe, folder, ReferenceCache())
        entries = map(EvaluationReference.parsed, phase.source.decontaminate if phase.source else ())
        source["decontaminate"] = [entry.moved(lambda path: _moved(path, recipe, folder, ReferenceCache())) for entry in entries]
        if phase.source is not None and phase.source.more:
            source["more"] = [entry.moved(lambda path: _moved(path, recipe, folder, ReferenceCache())) for entry in phase.source.further]
    if phase.judge is None:
        del data["verdicts"]
    roles = [(data, role.name) for stage in STAGES for role in model_roles(stage)]
    evaluate = data.get("evaluate")
    for table, key in (*roles, (data, "judge"), (train, "reference"), (evaluate, "judge"), (evaluate, "baseline"), (evaluate, "set")):
        if isinstance(table, dict) and key in table:
            table[key] = _moved(str(table[key]), recipe, folder, known)
    return data


def _moved(reference: str, recipe: Recipe, folder: Path, known: ReferenceCache) -> str:
    """A path beside the recipe as seen from `folder`, a Hub model with its commit, a keyword unchanged."""
    if reference in WORDS or reference in [phase.name for phase in recipe.phases]:
        return reference
    place = Path(recipe.located(reference)).expanduser()
    if place.exists():
        path = os.path.relpath(place.resolve(), folder.resolve())
        return path if path.startswith(".") else f"./{path}"
    model = known.models.get(reference)
    return reference if model is None else model.record.location


def _without_none(data: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {key: _without_none(value) if isinstance(value, dict) else value for key, value in data.items() if value is not None}
