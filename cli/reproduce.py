"""sgpo reproduce: what makes a published version again."""

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from sgpo_data.errors import UsageError
from sgpo_data.execution import ROOT, Execution

from .references import typed


def reproduce(
    reference: Annotated[str, typer.Argument(metavar="VERSION", help="A published version, as hf://datasets/org/name@v1.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write to; named by the version if not given.")] = None,
    root: Annotated[Path, typer.Option(help="Folder that will hold what is made.")] = ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON in place of the file.")] = False,
) -> None:
    """Write out what makes a published version again: its recipe, or the commands of its stages; nothing is run.

    Told besides: which datasets get the same fingerprint here, what is needed that is not on the Hub, and where text or weights may differ even so.
    Votes of people are not made again: they are read where they were published, or needed.
    The last line printed is the file that was written.
    """
    from sgpo_data.names import hub_place
    from sgpo_data.publishing.reproduce import published_version
    from sgpo_data.publishing.reproduce import reproduce as reproduced

    given = typed(reference)
    place = hub_place(given)
    if place is None or place.path:
        raise UsageError(f"{given}: is no version; name the repository and its tag, as hf://datasets/org/name@v1")
    version = published_version(place)
    assert version.place.revision is not None
    folder = out or Path(f"{place.repository.partition('/')[2]}-{(place.revision or version.place.revision[:8]).replace('/', '-')}")
    found = reproduced(version, folder, Execution(root=root))
    if as_json:
        lists = {name: list(getattr(found, name)) for name in ("same", "other", "votes", "needs", "may_differ")}
        print(orjson.dumps({"reference": str(version.place), "file": str(found.file), "command": found.command, **lists}).decode())
        return
    told = {"same fingerprint": found.same, "other fingerprint": found.other, "read there": found.votes, "needs": found.needs, "may differ": found.may_differ}
    for what, lines in told.items():
        for each in lines:
            print(f"{what:<18}{each}", file=sys.stderr)
    print(f"run it with: {found.command}", file=sys.stderr)
    print(found.file)
