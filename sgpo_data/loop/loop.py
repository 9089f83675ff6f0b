"""The loop: a recipe's steps, made in order as far as they are not made already."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from sgpo_data.errors import RecipeError, first_line
from sgpo_data.execution import Execution
from sgpo_data.loop.estimate import record
from sgpo_data.loop.fit import check_models
from sgpo_data.loop.folder import RecipeFolder, Use, link
from sgpo_data.loop.frozen import frozen_text, reads_back
from sgpo_data.loop.plan import ReferenceCache, Step, plan_recipe
from sgpo_data.recipe.file import read_recipe
from sgpo_data.recipe.recipe import Recipe
from sgpo_data.running.engines import Engines, OpenModel
from sgpo_data.running.engines import open_model as open_engine_or_copies
from sgpo_data.running.overlap import OverlappingJobs
from sgpo_data.status import STATUS, begin_status, end_status
from sgpo_data.store.state import state

log = logging.getLogger(__name__)
DIFFERENCES = 2


@dataclass(frozen=True)
class StaleStep:
    """Something that the last run of the recipe made and this one would make again."""

    step: Step
    rows: int
    seconds: float
    """Both as recorded by the last run."""
    why: tuple[str, ...]
    """The first differences between the two, as `field: before -> now`."""


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


class Guard(Protocol):
    """What looks at every step before it is made and after, and may stop the run by an error."""

    def before(self, step: Step, engines: Engines) -> None:
        """The step is about to be made."""
        ...

    def after(self, step: Step, engines: Engines) -> None:
        """The step is made, be it by this run or by one before."""
        ...


def run_recipe(
    path: Path,
    execution: Execution | None = None,
    *,
    confirm: Confirm | None = None,
    open_model: OpenModel = open_engine_or_copies,
    guard: Guard | None = None,
) -> list[StepResult]:
    """Makes everything in the recipe that is missing; the same call resumes after a kill.

    If what the last run made with a model would be made anew, `confirm` is asked first; without it that is refused. `open_model` loads the models of its
    stages, each if a row needs it; they are closed when all is made. `guard` may stop it before or after a step.
    Raises RecipeError if the recipe has faults or the change is not confirmed, DatasetError if another process runs it, before the first step
    MissingExtraError if an engine is not installed and what `check_models` raises, whatever a step raises.
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
            check_models(recipe, steps, execution)
        text = frozen_text(recipe, steps, folder.folder, known=known)
        assert reads_back(text, steps, folder.folder, execution, known=known), text
        folder.begin(text, [_use(step, folder) for step in steps], execution.store)
        kept = execution.status or folder.folder / STATUS
        watched = execution.model_copy(update={"status": kept})
        with _stopped_in(kept), closing(Engines(watched, open_model=open_model)) as engines:
            return list(_make_in_order(steps, watched, engines, guard))


@contextmanager
def _stopped_in(status: Path) -> Iterator[None]:
    """Tells monitors how it ended."""
    try:
        yield
    except BaseException as error:
        end_status(status, "stopped", first_line(error))
        raise
    end_status(status, "done")


def changes_of(recipe: Recipe, steps: Sequence[Step], execution: Execution) -> Changes:
    """What a run would make again."""
    return Changes(recipe.path, tuple(_changes(steps, RecipeFolder(execution.root / recipe.name))))


def _make_in_order(steps: Sequence[Step], execution: Execution, engines: Engines, guard: Guard | None) -> Iterator[StepResult]:
    left = deque(steps)
    while left:
        step = left.popleft()
        assert execution.status is not None
        begin_status(execution.status, _place(step, len(steps) - len(left), len(steps)))
        jobs = OverlappingJobs.of(step.job, left[0].job) if left and execution.ray is None else None
        if jobs is not None and "made" not in (state(step.folder), state(left[0].folder)):
            yield from _make_at_once(jobs, step, left.popleft(), execution, engines)
        else:
            yield _make(step, execution, engines, guard)


def _place(step: Step, number: int, steps: int) -> Mapping[str, str | int]:
    own: dict[str, str | int] = {"phase": step.phase, "round": step.round, "stage": step.stage, "making": str(step.link)}
    return {**own, "step": number, "steps": steps}


def _make_at_once(jobs: OverlappingJobs, step: Step, then: Step, execution: Execution, engines: Engines) -> Iterator[StepResult]:
    # Health and report read what the links lead to, and the second stage may go on for hours.
    jobs.make((step.folder, then.folder), execution, engines, first_made=partial(link, step.link, step.folder))
    for each in (step, then):
        link(each.link, each.folder)
        yield StepResult(each, made_now=True)


def _make(step: Step, execution: Execution, engines: Engines, guard: Guard | None) -> StepResult:
    before = state(step.folder)
    if guard is not None and before != "made":
        guard.before(step, engines)
    name = f"{execution.run_name or step.link.parent.parent.name}/{step.link.parent.name}"
    step.job.make(step.folder, execution.model_copy(update={"run_name": name}), engines)
    link(step.link, step.folder)
    if guard is not None:
        guard.after(step, engines)
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
