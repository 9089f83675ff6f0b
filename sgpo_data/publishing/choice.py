"""What is to be published, as it is named: datasets, a model, or the last round of a run."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sgpo_data.errors import DatasetError, UsageError
from sgpo_data.evaluation.summary import EvaluationSummary, evaluation_summary
from sgpo_data.loop.folder import FROZEN
from sgpo_data.loop.rounds import MODEL, open_run
from sgpo_data.names import PREFIX, TrainedModel
from sgpo_data.paths import local_path
from sgpo_data.publishing.card import Config
from sgpo_data.publishing.model_evaluations import model_evaluations
from sgpo_data.publishing.publication import Publication, model_publication, publication
from sgpo_data.publishing.publish import checked_tag
from sgpo_data.query.catalog import NAMED
from sgpo_data.references.dataset import existing, find_dataset
from sgpo_data.references.model import model_manifest


def chosen(references: Sequence[str], repository: str, *, tag: str, run: str | None, license: str | None, root: Path, allow_secrets: bool) -> Publication:
    """These datasets, each `NAME=REF` or named by its table, and the last round of `run`, or one trained model, as a version of the repository.

    Raises UsageError if repository or tag are no such names, or if nothing is named; what `publication` raises.
    """
    name = repository.removeprefix(PREFIX)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name, re.ASCII):
        raise UsageError(f"{repository}: the last argument is the repository, as org/name")
    if run is None and not references:
        raise UsageError("publish: name the datasets before the repository, or a run with --run")
    checked_tag(tag)
    if run is None and len(references) == 1 and (model := _model_folder(references[0], root)) is not None:
        return model_publication(model, name, tag=tag, license=license, evaluations=_evaluations(model, root), allow_secrets=allow_secrets)
    of_run = _of_run(run, root) if run else _PublishedRun([], None, None)
    configs = [*of_run.configs, *(_config(reference, root) for reference in references)]
    recipe, evaluation = of_run.recipe, of_run.evaluation
    return publication(configs, name, tag=tag, license=license, root=root, recipe=recipe, evaluation=evaluation, allow_secrets=allow_secrets)


def _model_folder(reference: str, root: Path) -> Path | None:
    """The folder of a trained model of this name, None if it names no model."""
    folders = [folder for folder in (local_path(reference), local_path(root / reference)) if (folder / "config.json").is_file()]
    return folders[0] if folders else None


def _evaluations(folder: Path, root: Path) -> list[EvaluationSummary]:
    """What the runs of the root found of the model in this folder."""
    manifest = model_manifest(folder)
    return [] if manifest is None else model_evaluations(str(TrainedModel.made(manifest.fingerprint)), root)


class _PublishedRun(NamedTuple):
    """What a run gives to a version."""

    configs: list[Config]
    recipe: Path | None
    """The frozen one, if there is one."""
    evaluation: EvaluationSummary | None
    """Of the model of the last round, if it was evaluated."""


def _of_run(run: str, root: Path) -> _PublishedRun:
    """The last round's datasets, with what is told of them."""
    found = open_run(run, root)
    last = found.rounds[-1]
    missing = [table for table in last.missing if table != MODEL]
    if missing:
        raise DatasetError(f"{found.folder / last.place}: {', '.join(missing)} not made yet; run the recipe again")
    recipe = found.folder / FROZEN
    configs = [Config(dataset.table, dataset) for dataset in last.widest]
    return _PublishedRun(configs, recipe if recipe.is_file() else None, evaluation_summary(last.datasets))


def _config(reference: str, root: Path) -> Config:
    named = NAMED.fullmatch(reference)
    if named is not None and find_dataset(reference, root) is None:
        return Config(named[1], existing(named[2], root))
    dataset = existing(reference, root)
    return Config(dataset.table, dataset)
