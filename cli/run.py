"""sgpo run: a recipe from its prompts to its last model."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from sgpo_data.errors import RecipeError, UsageError
from sgpo_data.execution import Execution
from sgpo_data.health.options import Guards

from .flags import built, parameters
from .how import LOOP, execution_parameters
from .opener import opener
from .printing.trainings import format_trainings, training_memory

if TYPE_CHECKING:
    from sgpo_data.loop.estimate import Estimate
    from sgpo_data.loop.loop import Changes, StepResult
    from sgpo_data.running.engines import OpenModel

COLUMNS = ("phase", "round", "stage", "state", "rows", "tokens", "seconds", "disk")


def add_run(app: typer.Typer) -> None:
    """Adds the command, with the flags of Execution."""
    app.command("run", rich_help_panel="The loop")(_command())


def _command() -> Callable[..., None]:
    def run(
        recipe: Path,
        context: typer.Context,
        *,
        dry_run: bool,
        print_script: bool,
        print_slurm: bool,
        yes: bool,
        keep_going: bool,
        json: bool,
        **given: object,
    ) -> None:
        """Make everything a recipe asks for: what is made is kept, what is not whole is taken up again.

        The last line printed is the reference of the last model or dataset. If a change of the recipe would start generation or training anew
        that was done before, its cost is shown and asked about first. Around every training its pairs and its model are looked at; an alarm stops
        the run with exit code 3.
        """
        execution = built(Execution, given)
        guards = built(Guards, given)
        if print_slurm and execution.ray is not None:
            raise UsageError(f"--print-slurm: its arrays share the parts out themselves (got --ray {execution.ray}); leave one out")
        if print_script or print_slurm:
            _print_script(recipe, execution, as_slurm=print_slurm)
        elif dry_run:
            _print_plan(recipe, execution, open_model=opener(context), as_json=json)
        else:
            run_loop(recipe, execution, open_model=opener(context), yes=yes, as_json=json, guards=guards, keep_going=keep_going)

    keyword = inspect.Parameter.KEYWORD_ONLY
    flags = {
        "dry_run": typer.Option("--dry-run", help="Print the plan and its cost as measured here before, or what the run would refuse; make nothing."),
        "print_slurm": typer.Option("--print-slurm", help="Print the same work as a shell script that hands it to Slurm; make nothing."),
        "print_script": typer.Option("--print-script", help="Print the same work as a shell script; make nothing."),
        "yes": typer.Option("--yes", "-y", help="Do not ask before something is made anew."),
        "keep_going": typer.Option("--keep-going", help="Go on after an alarm of a training, with a warning."),
        "json": typer.Option("--json", help="Print a summary as JSON in place of the reference or the table."),
    }
    own = [inspect.Parameter(name, keyword, annotation=Annotated[bool, option], default=False) for name, option in flags.items()]
    argument = Annotated[Path, typer.Argument(metavar="RECIPE", help="A TOML file; sgpo init writes one.")]
    place = inspect.Parameter("recipe", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=argument)
    called = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    run.__signature__ = inspect.Signature([place, called, *own, *parameters(Guards, panel="Alarms"), *execution_parameters(LOOP)])  # type: ignore[attr-defined]
    return run


def run_loop(recipe: Path, execution: Execution, *, open_model: "OpenModel", yes: bool, as_json: bool, guards: Guards, keep_going: bool) -> None:
    """Runs the recipe, with its guards, and prints the reference of the last model or dataset, or a summary."""
    from sgpo_data.health.guards import TrainingGuard
    from sgpo_data.health.tracked import track_run
    from sgpo_data.loop.loop import run_recipe
    from sgpo_data.loop.rounds import open_run
    from sgpo_data.recipe.file import read_recipe
    from sgpo_data.training.tracking import NONE

    def confirmed(changes: "Changes") -> bool:
        return yes or _agreed(changes)

    guard = TrainingGuard(read_recipe(recipe), execution, guards, keep_going)
    ran = run_recipe(recipe, execution, confirm=confirmed, open_model=open_model, guard=guard)
    if execution.report_to != NONE:
        track_run(open_run(read_recipe(recipe).name, execution.root), execution)
    if as_json:
        print(orjson.dumps({"recipe": str(recipe), "steps": [_summary(each) for each in ran]}).decode())
    else:
        print(ran[-1].step.link)


def _agreed(changes: "Changes") -> bool:
    if not sys.stdin.isatty():
        raise RecipeError(f"{changes}; nothing was made; undo the change, or add --yes")
    for change in changes.changes:
        why = f" ({'; '.join(change.why)})" if change.why else ""
        print(f"  {change.step.link}: {change.rows} rows, {change.seconds:.0f} s before{why}"[:200], file=sys.stderr)
    print(changes, file=sys.stderr)
    return typer.confirm("go on?", err=True)


def _summary(ran: "StepResult") -> dict[str, object]:
    step = ran.step
    return {
        "phase": step.phase,
        "round": step.round,
        "stage": step.stage,
        "reference": str(step.link),
        "fingerprint": step.job.identity.fingerprint,
        "made_now": ran.made_now,
    }


def _print_script(path: Path, execution: Execution, *, as_slurm: bool) -> None:
    from sgpo_data.loop.plan import plan_recipe
    from sgpo_data.loop.script import script
    from sgpo_data.loop.slurm import slurm
    from sgpo_data.recipe.file import read_recipe

    recipe = read_recipe(path)
    printed = slurm if as_slurm else script
    sys.stdout.write(printed(str(recipe.path), plan_recipe(recipe, execution), execution))


def _print_plan(path: Path, execution: Execution, *, open_model: "OpenModel", as_json: bool) -> None:
    from sgpo_data.loop.estimate import estimates
    from sgpo_data.loop.fit import check_models
    from sgpo_data.loop.loop import changes_of
    from sgpo_data.loop.plan import plan_recipe
    from sgpo_data.recipe.file import read_recipe
    from sgpo_data.running.engines import open_model as loaded_model

    recipe = read_recipe(path)
    steps = plan_recipe(recipe, execution)
    here = open_model is loaded_model
    if here:
        check_models(recipe, steps, execution)
    found = estimates(steps, execution.store)
    if as_json:
        trainings = training_memory(steps, execution) if here else ()
        taken = {step.link: {"device_bytes": parts, "seconds_of_1000_rows": seconds} for step, parts, seconds in trainings}
        print(orjson.dumps([_planned(each) | taken.get(each.step.link, {}) for each in found]).decode())
        return
    rows = [COLUMNS, *map(_cells, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        words = [cell.ljust(width) if at in (0, 2, 3) else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(words).rstrip())
    _print_total(found)
    for line in format_trainings(steps, execution) if here else ():
        print(line, file=sys.stderr)
    changes = changes_of(recipe, steps, execution)
    if changes.costly:
        print(changes, file=sys.stderr)


def _print_total(found: "list[Estimate]") -> None:
    left = [each for each in found if each.state != "made"]
    unknown = sum(each.seconds is None for each in left)
    seconds, size = sum(each.seconds or 0 for each in left), sum(each.bytes or 0 for each in left)
    told = f"{len(left)} of {len(found)} steps to be made"
    if len(left) > unknown:
        told += f": {'at least' if unknown else 'about'} {seconds:.0f} s, {_size(size)}"
    print(told + (f"; no estimate for {unknown} whose like was not made in this root before" if unknown else ""), file=sys.stderr)


def _planned(each: "Estimate") -> dict[str, object]:
    step = each.step
    own = {"phase": step.phase, "round": step.round, "stage": step.stage, "reference": str(step.link), "fingerprint": step.job.identity.fingerprint}
    return {**own, "state": each.state, "rows_done": each.rows_done, "rows": each.rows, "tokens": each.tokens, "seconds": each.seconds, "bytes": each.bytes}


def _cells(each: "Estimate") -> tuple[str, ...]:
    step = each.step
    state = each.state if each.state != "resumes" else f"resumes at {each.rows_done} rows" if each.rows_done else "resumes"
    numbers = ["?" if number is None else f"{number:,}" for number in (each.rows, each.tokens)]
    seconds = "?" if each.seconds is None else f"{each.seconds:,.0f}"
    return step.phase, str(step.round), step.stage, state, *numbers, seconds, "?" if each.bytes is None else _size(each.bytes)


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
