"""The loop: a recipe's steps, made in order as far as they are not made already."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sgpo_data.engines.loading import check_installed
from sgpo_data.errors import RecipeError
from sgpo_data.execution import Execution
from sgpo_data.loop.estimate import record
from sgpo_data.loop.folder import RecipeFolder, Use, link
from sgpo_data.loop.frozen import frozen_text, reads_back
from sgpo_data.loop.plan import ReferenceCache, Step, plan_recipe
from sgpo_data.recipe.file import read_recipe
from sgpo_data.recipe.recipe import Recipe
from sgpo_data.running.engines import Engines, OpenModel
from sgpo_data.running.engines import open_model as open_engine_or_copies
from sgpo_data.running.overlap import OverlappingJobs
from sgpo_data.store.state import state

log = logging.getLogger(__name__)
DIFFERENCES = 2


@dataclass(frozen=True)
class StaleStep:
    """Something the last run of the recipe made that would be made anew."""

    step: Step
    rows: int
    seconds: float
    """Both of what was made before."""
    why: tuple[str, ...]
    """Some of what sets the two apart, as `field: before -> now`."""


@dataclass(frozen=True)
class Changes:
    """What a change of the recipe, a model or a source will remake."""

    recipe: Path
    changes: tuple[StaleStep, ...]

    @property
    def costly(self) -> tuple[StaleStep, ...]:
        """Those that run a model."""
        return tuple(change for change in self.changes if change.step.job.costly)

    def __str__(self) -> str:
        rows, seconds = sum(change.rows for change in self.costly), sum(change.seconds for change in self.costly)
        steps = len(self.costly)
        return f"{self.recipe}: generation or training of {steps} step{'s' * (steps > 1)} would start again: {rows} rows, about {seconds:.0f} s"


@dataclass(frozen=True)
class StepResult:
    """A step that is made, and whether this run made it."""

    step: Step
    made_now: bool


Confirm = Callable[[Changes], bool]


def run_recipe(
    path: Path, execution: Execution | None = None, *, confirm: Confirm | None = None, open_model: OpenModel = open_engine_or_copies
) -> list[StepResult]:
    """Everything the recipe makes, made now as far as it is not made already; the same call takes up what a kill has left.

    If what the last run made with a model would be made anew, `confirm` is asked first; without it that is refused. `open_model` loads the models of its
    stages, each if a row needs it; they are closed when all is made.
    Raises RecipeError if the recipe has faults or the change is not confirmed, DatasetError if another process runs it, MissingExtraError before the
    first step if an engine is not installed, whatever a step raises.
    """
    execution = execution or Execution()
    recipe, known = read_recipe(path), ReferenceCache()
    steps = plan_recipe(recipe, execution, known=known)
    folder = RecipeFolder(execution.root / recipe.name)
    with folder.claimed():
        changes = Changes(path, tuple(_changes(steps, folder)))
        if changes.costly and not (confirm is not None and confirm(changes)):
            raise RecipeError(f"{changes}; nothing was made; undo the change, or agree to it with --yes")
        if open_model is open_engine_or_copies:
            _check_engines(steps)
        text = frozen_text(recipe, steps, folder.folder, known=known)
        assert reads_back(text, steps, folder.folder, execution, known=known), text
        folder.begin(text, [_use(step, folder) for step in steps], execution.store)
        with closing(Engines(execution, open_model=open_model)) as engines:
            return list(_make_in_order(steps, execution, engines))


def _check_engines(steps: Sequence[Step]) -> None:
    """That each engine is installed is known before the first step, which may take hours, and not when its turn comes."""
    for step in steps:
        if step.job.loadings and state(step.folder) != "made":
            for loading in step.job.loadings:
                check_installed(loading.engine)


def changes_of(recipe: Recipe, steps: Sequence[Step], execution: Execution) -> Changes:
    """What a run would make anew."""
    return Changes(recipe.path, tuple(_changes(steps, RecipeFolder(execution.root / recipe.name))))


def _make_in_order(steps: Sequence[Step], execution: Execution, engines: Engines) -> Iterator[StepResult]:
    left = deque(steps)
    while left:
        step = left.popleft()
        jobs = OverlappingJobs.of(step.job, left[0].job) if left else None
        if jobs is not None and "made" not in (state(step.folder), state(left[0].folder)):
            yield from _make_at_once(jobs, step, left.popleft(), execution, engines)
        else:
            yield _make(step, execution, engines)


def _make_at_once(jobs: OverlappingJobs, step: Step, then: Step, execution: Execution, engines: Engines) -> Iterator[StepResult]:
    # Health and report read what the links lead to, and the second stage may go on for hours.
    jobs.make((step.folder, then.folder), execution, engines, first_made=partial(link, step.link, step.folder))
    for each in (step, then):
        link(each.link, each.folder)
        yield StepResult(each, made_now=True)


def _make(step: Step, execution: Execution, engines: Engines) -> StepResult:
    before = state(step.folder)
    step.job.make(step.folder, execution, engines)
    link(step.link, step.folder)
    return StepResult(step, before != "made")


def _use(step: Step, folder: RecipeFolder) -> Use:
    return Use(phase=step.phase, round=step.round, stage=step.stage, link=str(step.link.relative_to(folder.folder)), name=step.job.name)


def _changes(steps: Sequence[Step], folder: RecipeFolder) -> list[StaleStep]:
    before: dict[str, Use] = {use.link: use for use in folder.uses()}
    found = []
    for step in steps:
        use = before.get(str(step.link.relative_to(folder.folder)))
        if use is None or use.name == step.job.name or state(step.folder) == "made":
            continue
        old = record(step.folder.parent / use.name)
        if old is not None:
            found.append(StaleStep(step, old.rows, old.seconds, tuple(old.identity.differences(step.job.identity)[:DIFFERENCES])))
    return found
