"""A recipe file, read and checked as a whole."""

import tomllib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from sgpo_data.engines import ChatTemplate
from sgpo_data.errors import RecipeError, got
from sgpo_data.paths import local_path, nearby
from sgpo_data.recipe.consistency import phase_faults, recipe_faults, reference_faults, training_faults
from sgpo_data.recipe.faults import Fault, found_in, mended, number_faults
from sgpo_data.recipe.recipe import SEEDED, Phase, Recipe
from sgpo_data.recipe.several_sources import joined_sources
from sgpo_data.recipe.toml import toml_fault
from sgpo_data.stages.improve.templates import TEMPLATE_FIELDS, load_template
from sgpo_data.stages.order import STAGES

TEMPLATED = (*(stage.stage_name for stage in STAGES if issubclass(stage, ChatTemplate)), "train")
"""Steps that render conversations, which the recipe's `template` is for."""


class _Top(BaseModel):
    """The keys before the phases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    adapter: str | None = None
    seed: int = Field(0, ge=0)
    template: dict[str, JsonValue] = Field(default_factory=dict)
    phases: list[dict[str, object]] = Field(min_length=1)


def read_recipe(path: Path) -> Recipe:
    """The recipe in this file.

    Raises RecipeError with all its faults, each at its place with the value found; phases count from 1.
    """
    try:
        text = local_path(path).read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or str(error)
        near = nearby(path) if isinstance(error, FileNotFoundError) else ""
        raise RecipeError(f"{path}: no recipe can be read there ({reason}); {near or 'give a TOML file; sgpo init writes one'}") from error
    return parsed(text, path)


def parsed(text: str, path: Path) -> Recipe:
    """The recipe of this text; files it names are looked for beside `path`.

    Raises RecipeError with all its faults.
    """
    try:
        return _checked(_loaded(text, path), path)
    except RecursionError as error:
        raise _refused(path, [Fault((), "is nested too deeply to be read; a recipe has tables of two or three levels")]) from error


def _loaded(text: str, path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except ValueError as error:
        if not isinstance(error, tomllib.TOMLDecodeError):
            raise _refused(path, [Fault((), "holds an integer of thousands of digits; TOML has integers of 64 bits")]) from error
        raise _refused(path, [Fault((), toml_fault(text, error))]) from error


def _checked(data: dict[str, object], path: Path) -> Recipe:
    faults = [fault for fault in number_faults(data, _Top) if fault.place[0] != "phases"]
    data = mended(data, (fault.place for fault in faults))
    try:
        top = _Top.model_validate(data)
    except ValidationError as error:
        faults += found_in(error, _Recipe)
        top = _Top.model_construct(model="", adapter=None, seed=0, template={}, phases=_tables(data.get("phases")))
    phases = _phases(top, path.parent, faults)
    if faults:
        raise _refused(path, faults)
    return Recipe(path, top.model, top.seed, tuple(phases.values()), adapter=top.adapter)


class _Recipe(_Top):
    """The same with the phases' own keys, to look up near names in."""

    phases: list[Phase]  # type: ignore[assignment]


def _tables(value: object) -> list[dict[str, object]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _phases(top: _Top, folder: Path, faults: list[Fault]) -> dict[int, Phase]:
    """The phases without a fault of their own, by position; adds to `faults`."""
    phases: dict[int, Phase] = {}
    names = [str(table.get("name", f"phase{position}")) for position, table in enumerate(top.phases, 1)]
    for position, table in enumerate(top.phases, 1):
        table, found = joined_sources(table)
        whole = _filled(table, names[position - 1], top)
        found += number_faults(whole, Phase)
        whole = mended(whole, (fault.place for fault in found))
        found += _load_templates(whole, folder)
        phase = _phase(whole, found)
        if phase is not None:
            # What follows from a fault is no other fault: stages are looked at only where all of them are there.
            own = phase_faults(phase) if not found else []
            if not found:
                phases[position] = phase
            if phase.train is not None and not any(fault.place[:1] == ("train",) for fault in found):
                own += training_faults(phase.train)
            found += [*own, *reference_faults(phase, position, names, folder)]
        faults += [Fault(("phases", position, *fault.place), fault.message) for fault in found]
    faults += recipe_faults(phases, names)
    return phases


def _phase(table: dict[str, object], faults: list[Fault]) -> Phase | None:
    """The phase, without what is at fault in it; adds to `faults`."""
    try:
        return Phase.model_validate(table)
    except ValidationError as error:
        faults += found_in(error, Phase)
        try:
            return Phase.model_validate(mended(table, (details["loc"] for details in error.errors())))
        except ValidationError:
            return None


def _filled(table: Mapping[str, object], name: str, top: _Top) -> dict[str, object]:
    """A copy with its name, and the recipe's seed and template arguments in each stage that has none of its own."""
    whole: dict[str, object] = {"name": name, **deepcopy(dict(table))}
    for stage, *outer, last in SEEDED:
        inner = whole.get(stage)
        for key in outer:
            inner = inner.setdefault(key, {}) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner.setdefault(last, top.seed)
    for stage in TEMPLATED if top.template else ():
        inner = whole.get(stage)
        if isinstance(inner, dict) and isinstance(own := inner.get("template", {}), dict):
            inner["template"] = {**top.template, **own}
    evaluate = whole.get("evaluate")
    if top.template and isinstance(evaluate, dict) and isinstance(answers := evaluate.setdefault("answers", {}), dict):
        answers["template"] = {**top.template, **answers.get("template", {})}
    return whole


def _load_templates(table: dict[str, object], folder: Path) -> list[Fault]:
    """Puts the text of each template in the place of its name."""
    faults = []
    improve = table.get("improve")
    for key in TEMPLATE_FIELDS:
        name = improve.get(key) if isinstance(improve, dict) else None
        if isinstance(improve, dict) and isinstance(name, str):
            try:
                template = load_template(name, folder)
                improve[key] = {"name": template.name, "text": template.text}
            except RecipeError as error:
                faults.append(Fault(("improve", key), f"{error} {got(name)}"))
                del improve[key]
    return faults


def _refused(path: Path, faults: list[Fault]) -> RecipeError:
    lines = dict.fromkeys(f"  {fault}" for fault in faults)
    return RecipeError(f"{path}: {len(lines)} {'fault' if len(lines) == 1 else 'faults'}", *lines)
