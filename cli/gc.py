"""sgpo gc: what lies in the store and no recipe uses."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sgpo_data.execution import ROOT


def gc(
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; what is being made right now stays.")] = False,
) -> None:
    """List what no recipe of the root uses: bytes, days since it was changed, state, folder. Remove it if told so.

    What a single stage wrote into the store, for want of -o, is no recipe's and is listed too.
    """
    from sgpo_data.errors import DatasetError
    from sgpo_data.loop.gc import delete as remove
    from sgpo_data.loop.gc import unused
    from sgpo_data.paths import local_path

    found = unused(local_path(root))
    removed = 0
    for each in found:
        days = (datetime.now(UTC) - each.changed).days
        state = "being made" if each.in_use else "unfinished" if each.state != "made" else "whole"
        print(f"{each.bytes:>14}  {days:>4} d  {state:<10}  {each.folder}")
        if delete and not each.in_use:
            try:
                remove(each)
                removed += each.bytes
            except DatasetError as error:
                print(error, file=sys.stderr)
    total = sum(each.bytes for each in found)
    told = f"{removed} of {total} bytes removed" if delete else f"{total} bytes in {len(found)} folders; remove them with --delete" if found else "nothing"
    print(told, file=sys.stderr)
