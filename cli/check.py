"""sgpo check: whether a dataset or a model is what its manifest says."""

from pathlib import Path
from typing import Annotated

import typer

from sgpo_data.errors import DatasetError, GateError, ModelError
from sgpo_data.execution import ROOT

from .printing.closed_pipe import closed_pipe_allowed


def check(
    references: Annotated[list[str], typer.Argument(metavar="REF...", help="Datasets, and folders of models.")],
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
) -> None:
    """Verify datasets and models: digests, schema and counts, and weights; exit 3 if one is broken."""
    found: list[str] = []
    for reference in references:
        broken, whole = _checked(reference, root)
        found += broken
        if not broken:
            with closed_pipe_allowed():
                print(f"{reference}: {whole}")
    if found:
        raise GateError(*found)


def _checked(reference: str, root: Path) -> tuple[list[str], str]:
    """What is broken, and what is there if nothing is."""
    from sgpo_data.references.dataset import existing
    from sgpo_data.references.model import find_model, model_folder, model_manifest, weights_faults
    from sgpo_data.store.dataset import faults

    try:
        folder = model_folder(reference, root)
        if folder is not None:
            identity = find_model(str(folder)).record.identity
            if model_manifest(folder):
                return [], f"whole: {identity}"
            return weights_faults(folder), f"{identity}, which was not trained here: there is no record to check it against"
        dataset = existing(reference, root)
    except (DatasetError, ModelError) as error:
        if not any(place.exists() for place in (Path(reference), root / reference)):
            raise
        return [str(error)], ""
    return faults(dataset), f"whole: {dataset.manifest.rows} rows of {dataset.table}, {len(dataset.paths)} files"
