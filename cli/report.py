"""sgpo report: a run as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from sgpo_data.execution import ROOT


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run of the root, by its name, or its folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.")] = Path("report.html"),
    against: Annotated[str | None, typer.Option("--against", metavar="RUN", help="Another run, whose numbers and lines stand beside.")] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
) -> None:
    """Write everything a run tells as one HTML file: no network, no other file, under 5 MB.

    Evaluations and grades first, then the loop as a picture, health with its alarms, what each rule drops, perplexities with their fences, drift over
    the rounds, training curves, recipe and lineage, and sample rows with their differences. What a model wrote is shown as text and can run nothing.
    A run that is not whole is shown as far as it got.
    """
    from sgpo_data.errors import UsageError
    from sgpo_data.health.health import health
    from sgpo_data.loop.rounds import open_run
    from sgpo_data.paths import local_path
    from sgpo_data.report.page import ROUNDS, page
    from sgpo_data.report.pictures import OtherRun
    from sgpo_data.store.files import write_text
    from sgpo_data.store.manifest import MANIFEST

    out = local_path(out)
    if out.is_dir() or (out.parent / MANIFEST).exists():
        raise UsageError(f"-o {out}: is {'a folder' if out.is_dir() else 'inside of a dataset'}; give another file")
    found = open_run(run, root)
    other = None if against is None else open_run(against, root)
    beside = None if other is None else OtherRun(other.name, other.rounds[-ROUNDS:], health(other))
    write_text(out, page(found, health(found), beside))
    print(out)
