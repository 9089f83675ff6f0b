"""sgpo preflight: a recipe tried on a sample before money is spent."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from sgpo_data.execution import Execution

from .flags import built
from .how import PREFLIGHT, execution_parameters
from .opener import opener
from .printing.closed_pipe import closed_pipe_allowed
from .printing.printable import printable

if TYPE_CHECKING:
    from sgpo_data.preflight.check import Check
    from sgpo_data.running.engines import OpenModel

ROWS = 64


def add_preflight(app: typer.Typer) -> None:
    """Adds the command, with the flags of Execution."""
    app.command("preflight", rich_help_panel="The loop")(_command())


def _command() -> Callable[..., None]:
    def preflight(recipe: Path, context: typer.Context, *, rows: int, device_memory: float | None, as_json: bool, **given: object) -> None:
        """Try a recipe on a sample, and say what would go wrong; exit 3 if a check fails.

        One line per check: pass, warn, fail or skip, the number, its bound, and what to change. The sample goes through the ordinary stages into the
        store, by the model the recipe begins with, so a second preflight makes nothing again. Nothing is trained.
        """
        _preflight(recipe, built(Execution, given), rows=rows, device_memory=device_memory, open_model=opener(context), as_json=as_json)

    keyword = inspect.Parameter.KEYWORD_ONLY
    argument = Annotated[Path, typer.Argument(metavar="RECIPE", help="A TOML file; sgpo init writes one.")]
    count = Annotated[int, typer.Option("--rows", min=2, help="Prompts of each kind of phase that are tried.")]
    memory = Annotated[
        float | None, typer.Option("--device-memory", min=0, help="Memory of the device that the recipe is for, in GiB; that of this machine if not given.")
    ]
    as_json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
    own = [
        inspect.Parameter("recipe", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=argument),
        inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        inspect.Parameter("rows", keyword, annotation=count, default=ROWS),
        inspect.Parameter("device_memory", keyword, annotation=memory, default=None),
        inspect.Parameter("as_json", keyword, annotation=as_json, default=False),
    ]
    preflight.__signature__ = inspect.Signature([*own, *execution_parameters(PREFLIGHT)])  # type: ignore[attr-defined]
    return preflight


def _preflight(recipe: Path, execution: Execution, *, rows: int, device_memory: float | None, open_model: "OpenModel", as_json: bool) -> None:
    from sgpo_data.errors import GateError
    from sgpo_data.preflight.preflight import preflight

    checks = preflight(recipe, execution, rows=rows, device_memory=device_memory, open_model=open_model)
    with closed_pipe_allowed():
        if as_json:
            listed = [{"name": each.name, "verdict": each.verdict, "value": each.value, "number": each.number, "bound": each.bound} for each in checks]
            told = [{**one, "advice": each.advice} for one, each in zip(listed, checks, strict=True)]
            print(orjson.dumps({"recipe": str(recipe), "checks": told}).decode())
        else:
            _print_lines(checks)
    failed = [each for each in checks if each.verdict == "fail"]
    if failed:
        raise GateError(*(f"{recipe}: {each.name}: {each.value}; {each.advice}" for each in failed))


def _print_lines(checks: "list[Check]") -> None:
    widths = max(len(printable(each.name)) for each in checks), max(len(each.value) for each in checks if each.verdict != "skip")
    for each in checks:
        advice = f"  {each.advice}" if each.verdict == "warn" and each.advice else ""
        bound = f"  {each.bound}" if each.bound else ""
        value = each.value if each.verdict == "skip" else f"{each.value:<{widths[1]}}"
        print(printable(f"{each.verdict}  {each.name:<{widths[0]}}  {value}{bound}{advice}".rstrip()))
