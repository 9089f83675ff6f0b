"""What is said of an option that a command does not have, and of one that it needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING

from typer._click.exceptions import MissingParameter, NoSuchOption

if TYPE_CHECKING:
    import typer._click.core as click

CLOSE = 0.75
"""Typer's own 0.6 takes --yes for what was meant by --nodes."""
COMMANDS = 3


@contextmanager
def explain_usage_errors() -> Iterator[None]:
    """Says of an unknown option which one was meant, or which other commands have it; of a missing one, how it is given."""
    try:
        yield
    except NoSuchOption as error:
        similar = error.possibilities or []
        begun = [each for each in similar if each.startswith(error.option_name)]
        error.possibilities = begun or get_close_matches(error.option_name, similar, cutoff=CLOSE)
        others = list(_having(error.option_name, error.ctx.find_root().command)) if error.ctx and not error.possibilities else []
        if others:
            more = f" and {len(others) - COMMANDS} more" if len(others) > COMMANDS else ""
            error.message += f"; {', '.join(others[:COMMANDS])}{more} {'has' if len(others) == 1 else 'have'} it"
        raise
    except MissingParameter as error:
        if error.ctx and error.param and (examples := (error.ctx.command.epilog or "").splitlines()):
            with_it = (each for each in examples if any(option in each.split() for option in error.param.opts))
            error.message = f"An example: {next(with_it, examples[0])}"
        raise


def _having(option: str, command: "click.Command", words: str = "sgpo") -> "Iterator[str]":
    """The commands with this option, those of groups too."""
    if any(option in each.opts and not getattr(each, "hidden", False) for each in command.params):
        yield words
    inner: dict[str, click.Command] = getattr(command, "commands", {})
    for name, each in inner.items():
        yield from _having(option, each, f"{words} {name}")
