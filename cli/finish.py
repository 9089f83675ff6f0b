"""The end of a dataset that several processes have made."""

from typing import Annotated

import typer

from sgpo_data.paths import local_path


def finish(
    folder: Annotated[str, typer.Argument(metavar="OUT", help="The folder that was given to all of them as -o.")],
    json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON in place of the reference.")] = False,
) -> None:
    """Finish a dataset whose shares are all made: those of --part-range of seed, improve and score-ppl.

    The last share does so by itself; this is for when it was killed on the way, and to hear which parts are missing.
    """
    from sgpo_data.publishing.output import StageOutput
    from sgpo_data.store.resume import finish_shares

    from .printing.output import print_made

    dataset = finish_shares(local_path(folder))
    print_made(StageOutput(dataset.manifest, str(dataset.folder)), as_json=json)
