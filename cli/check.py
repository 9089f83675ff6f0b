"""sgpo check: whether a dataset is what its manifest says."""

from pathlib import Path
from typing import Annotated

import typer

from sgpo_data.errors import DatasetError, GateError
from sgpo_data.execution import ROOT


def check(
    references: Annotated[list[str], typer.Argument(metavar="REF...", help="Datasets.")],
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
) -> None:
    """Verify digests, schema and counts of datasets; exit 3 if one is broken."""
    from sgpo_data.catalog import existing
    from sgpo_data.dataset import faults

    found = []
    for reference in references:
        try:
            dataset = existing(reference, root)
        except DatasetError as error:
            if not any(place.exists() for place in (Path(reference), root / reference)):
                raise
            found.append(str(error))
            continue
        broken = faults(dataset)
        found += broken
        if not broken:
            print(f"{reference}: whole: {dataset.manifest.rows} rows of {dataset.table}, {len(dataset.paths)} files")
    if found:
        raise GateError("\n".join(found))
