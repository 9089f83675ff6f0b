"""sgpo inspect: a first look at a dataset or a model."""

from pathlib import Path
from typing import Annotated

import typer

from sgpo_data.execution import ROOT

from .references import typed


def inspect(
    reference: Annotated[str, typer.Argument(metavar="REF", help="A dataset, or the folder of a model; - reads the reference from standard input.")],
    rows: Annotated[int, typer.Option(min=0, help="Sample rows to show.")] = 3,
    seed: Annotated[int, typer.Option(help="Draws another sample.")] = 0,
    whole: Annotated[bool, typer.Option("--whole", help="Show texts uncut, and what each column means.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, texts uncut.")] = False,
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
) -> None:
    """Show what a dataset holds: where it comes from, its columns, why rows ended as they did, and a few rows. Of a model, how it was trained."""
    from sgpo_data.references.dataset import existing
    from sgpo_data.references.model import model_folder

    from .printing.look import show
    from .printing.model_record import show_model

    reference = typed(reference)
    model = model_folder(reference, root)
    if model is not None:
        show_model(model, as_json=as_json)
        return

    show(existing(reference, root), rows=rows, seed=seed, whole=whole, as_json=as_json)
