"""What loads the models of a command: the engines, or what the caller of the command line hands over as its object."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sgpo_data.running.engines import OpenModel


def opener(context: typer.Context) -> "OpenModel":
    """The caller's, or that of the engines."""
    # Arrow takes a while to import: --help does without.
    from sgpo_data.running.engines import open_model

    given: OpenModel | None = context.obj
    return given or open_model
