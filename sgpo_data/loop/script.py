"""A plan as a shell script of single commands, which end with the same fingerprints."""

import hashlib
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from sgpo_data.evaluation.judge.prompt import JudgePrompt
from sgpo_data.execution import ROOT, Execution
from sgpo_data.loop.job import Job
from sgpo_data.loop.plan import Step
from sgpo_data.names import HubRows, hub_place
from sgpo_data.references.model import Model
from sgpo_data.stages.filter.predicate import Predicate
from sgpo_data.stages.improve.templates import Template, load_template
from sgpo_data.store.input import JobInput

ANSWERING = "evaluate answers"
STORE = '"$root"/store'
HEAD = """\
#!/bin/sh
# The work of {path}, one command per step: {phases}.
# Folders are named by their fingerprints. Local paths are seen from the folder it was printed in.
# Another root than this one can be given as the first argument.
set -eu
root={root}
root="${{1:-$root}}"
"""


@dataclass(frozen=True)
class ShellStep:
    """A step as a line of a shell."""

    step: Step
    before: list[str]
    """Lines that go before it: where a round begins, and files that it reads."""
    command: str


def script(of: str, steps: Sequence[Step], execution: Execution) -> str:
    """The steps in order, as the work of a recipe or a version.

    Every flag is written that differs from its default; prompts are read by the stage that takes them.
    """
    lines = [HEAD.format(path=of, phases=phases_of(steps), root=shlex.quote(str(execution.root)))]
    for each in shell_steps(steps, execution):
        lines += [*each.before, each.command]
    return "\n".join(lines) + "\n"


def phases_of(steps: Sequence[Step]) -> str:
    """The names of their phases, in order."""
    return ", ".join(dict.fromkeys(step.phase for step in steps))


def shell_steps(steps: Sequence[Step], execution: Execution) -> Iterator[ShellStep]:
    """The steps that have a command of their own, in order; the variable `root` says where."""
    how = list(_flags(execution.model_copy(update={"root": ROOT})))
    made = {step.folder: step for step in steps}
    heading = None
    for step in steps:
        if step.job.inlined:
            continue
        lines = [] if heading == (heading := (step.phase, step.round)) else [f"# {step.phase}, round {step.round}"]
        words = list(_words(step.job, made, lines))
        # The command of answers finds their place in the store by itself.
        place = [] if step.stage == ANSWERING else ["-o", f"{STORE}/{step.job.name}"]
        yield ShellStep(step, lines, " ".join(["sgpo", step.stage, *words, *place, "--root", '"$root"', *how]))


def _words(job: Job, made: dict[Path, Step], lines: list[str]) -> Iterator[str]:
    """Inputs, models and flags; a template of its own is written to a file by a line before."""
    for given in job.inputs:
        yield from (given.flag,) if given.flag else ()
        yield from _input(given, made)
    for flag, model in job.models:
        yield from (flag, _model(model, made)) if flag else (_model(model, made),)
        if model.adapter is not None:
            yield from ("--adapter", shlex.quote(_places(model)[1]))
    for name in type(job.options).model_fields:
        template = getattr(job.options, name)
        if isinstance(template, JudgePrompt) and template.ships:
            yield from (f"--{name}", template.name)
        elif isinstance(template, Template | JudgePrompt) and not _ships(template):
            file = f'"$root"/{name}-{hashlib.sha256(template.text.encode()).hexdigest()[:8]}.jinja'
            lines.append(f'mkdir -p "$root" && printf %s {shlex.quote(template.text)} > {file}')
            yield from (_flag(name), file)
    yield from _flags(job.options)


def _input(given: JobInput, made: dict[Path, Step]) -> Iterator[str]:
    step = made.get(given.folder)
    if step is None:
        reference = given.record.reference
        yield shlex.quote(str(given.folder) if hub_place(reference) is None else reference)
    elif step.job.inlined and step.stage.startswith("evaluate "):
        yield from (word for inner in step.job.inputs for word in _input(inner, made))
    elif step.job.inlined:
        raw, *_ = step.job.identity.inputs
        hub = HubRows.parsed(raw.fingerprint)
        yield shlex.quote(hub.name if hub else raw.reference)
        yield from _flags(step.job.options, "source.")
    else:
        yield f"{STORE}/{step.job.name}"


def _model(model: Model, made: dict[Path, Step]) -> str:
    if model.folder in made:
        return f"{STORE}/{model.folder.name}"
    return shlex.quote(_places(model)[0])


def _places(model: Model) -> tuple[str, str]:
    """Where a model that is there already is found, and its adapter: on the Hub by commit, at a server by name."""
    place = model.record.place
    return str(model.folder) if place.base.startswith("/") else place.base, place.adapter or ""


def _flags(options: BaseModel, prefix: str = "") -> Iterator[str]:
    """Flags of every field that is not at its default, templates left out."""
    for name, field in type(options).model_fields.items():
        value, flag = getattr(options, name), _flag(f"{prefix}{name}")
        if isinstance(value, BaseModel):
            yield from _flags(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, Template | JudgePrompt) or value == field.get_default(call_default_factory=True):
            continue
        elif isinstance(value, bool):
            yield flag if value else _flag(f"no-{prefix}{name}")
        elif isinstance(value, dict):
            # Rules are texts that are given one by one; what is for TRL is JSON.
            plain = get_args(field.annotation)[1:] == (Predicate,)
            entry = flag.removesuffix("s")
            yield from (word for key, inner in value.items() for word in (entry, shlex.quote(f"{key}={inner if plain else json.dumps(inner)}")))
        elif isinstance(value, tuple):
            yield from (word for inner in value for word in (flag, shlex.quote(str(inner))))
        else:
            yield from (flag, shlex.quote(str(value)))


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _ships(template: Template | JudgePrompt) -> bool:
    if isinstance(template, JudgePrompt):
        return template.ships
    return "/" not in template.name and template.name in ("improve", "refine") and load_template(template.name).text == template.text
