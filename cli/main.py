"""sgpo: the entry point, and how an error becomes a line and an exit code."""

import logging
import signal
import sys
from importlib.metadata import version
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from sgpo_data.errors import SgpoError
from sgpo_data.printable import printable
from sgpo_data.stages.order import STAGES

from .check import check
from .demo import demo
from .diff import diff
from .evaluate import add_evaluate
from .finish import finish
from .flags import dashed
from .gc import gc
from .health import add_health
from .help import WHOLE, WIDEST, HelpfulGroup, explain
from .init import init
from .inspect import inspect
from .lint import add_lint
from .ls import ls
from .preflight import add_preflight
from .printing.closed_pipe import closed_pipe_allowed
from .publish import publish
from .report import report
from .reproduce import reproduce
from .run import add_run
from .sql import sql
from .stages import add_stages
from .train import add_train

if TYPE_CHECKING:
    from sgpo_data.running.engines import OpenModel

NOISY = ("openai", "vllm", "httpx", "httpx2", "urllib3", "filelock", "fsspec")


RESUMING = ("demo", "run", "preflight", *(stage.stage_name for stage in STAGES), "train", "evaluate", "publish")
"""Commands that, given again, go on where they were stopped."""


class _Printable(logging.Formatter):
    """Names of files and columns stand in the lines that are logged, as in errors."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


class _Commands(HelpfulGroup):
    def main(self, *args: object, **given: object) -> object:
        """Runs the command line; a help text that is not read to its end is no error."""
        try:
            return super().main(*args, **given)  # type: ignore[arg-type]
        except SystemExit as end:
            # Rich and Typer make it exit code 1.
            if end.code == 1 and isinstance(end.__context__, BrokenPipeError):
                raise SystemExit(0) from end
            raise

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Runs the command; a mistake of the user's is one line, a traceback is a fault of ours."""
        try:
            with closed_pipe_allowed():
                return super().invoke(ctx)
        except SgpoError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except (KeyboardInterrupt, RuntimeError) as error:
            # Where Ctrl-C comes while DuckDB computes, this is what it makes of it.
            if isinstance(error, RuntimeError) and str(error) != "Query interrupted":
                raise
            print("stopped; the same command goes on from here" if ctx.invoked_subcommand in RESUMING else "stopped", file=sys.stderr)
            raise typer.Exit(130) from error
        return None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # A key of a recipe is spelled with underscores, a flag with dashes: either works for both.
    context_settings={"token_normalize_func": dashed, "help_option_names": ["--help", "-h", WHOLE], "max_content_width": WIDEST},
)


def _show_version(asked: bool) -> None:
    if asked:
        print(version("sgpo-data"))
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log in detail.")] = False,
    _version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """Make, inspect, publish and train on preference data that your own model generated."""
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(_Printable("%(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[shown], force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


app.command(rich_help_panel="Start")(demo)
app.command(rich_help_panel="Start")(init)
add_run(app)
add_preflight(app)
add_stages(app)
app.command(rich_help_panel="Stages")(finish)
add_train(app)
add_evaluate(app)
app.command(rich_help_panel="Share")(publish)
app.command(rich_help_panel="Share")(reproduce)
app.command(rich_help_panel="Look")(ls)
app.command(rich_help_panel="Look")(sql)
app.command(rich_help_panel="Look")(inspect)
app.command(rich_help_panel="Look")(diff)
app.command(rich_help_panel="Look")(check)
add_lint(app)
add_health(app)
app.command(rich_help_panel="Look")(report)
app.command(rich_help_panel="Look")(gc)
explain(app)


def main(open_model: "OpenModel | None" = None) -> None:
    """Runs the command line; SIGTERM stops it as Ctrl-C does. `open_model` loads the models in place of the engines."""
    signal.signal(signal.SIGTERM, _stop)
    app(obj=open_model)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
