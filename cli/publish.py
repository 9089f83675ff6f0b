"""sgpo publish: datasets as one version of a dataset repository on the Hub."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import orjson
import typer

from sgpo_data.errors import UsageError
from sgpo_data.execution import ROOT

from .references import typed

if TYPE_CHECKING:
    from sgpo_data.evaluation.summary import EvaluationSummary
    from sgpo_data.publishing.card import Config
    from sgpo_data.publishing.publication import Publication


def publish(
    references: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]DATASET... REPO", help="Datasets, each a config named by its table, or a model; last the repository."),
    ],
    tag: Annotated[str, typer.Option("--tag", help="Name of the version.")],
    run: Annotated[str | None, typer.Option("--run", help="Publish the last round of a run, with its recipe.")] = None,
    branch: Annotated[str, typer.Option("--branch", help="Branch to commit on; made if there is none.")] = "main",
    private: Annotated[bool, typer.Option("--private/--public", help="Who sees a repository that is made now; that of one that is there stays.")] = True,
    license: Annotated[str | None, typer.Option("--license", help="As the Hub names it, such as apache-2.0; none is made up.")] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
    allow_secrets: Annotated[bool, typer.Option("--allow-secrets", help="Send texts too that look like a password or a key.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be uploaded, kept and deleted; change nothing. Works offline too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON in place of the reference.")] = False,
) -> None:
    """Publish datasets, or one model that was trained here, as one version on the Hub: one commit, verified, then the tag.

    The same version again does nothing; a tag that holds something else is refused. Killed or cut off, the same command goes on.
    The last line printed is the reference of the commit. The login is that of HF_TOKEN or of hf auth login.
    """
    from sgpo_data.names import PREFIX
    from sgpo_data.publishing.publication import model_publication, publication
    from sgpo_data.publishing.publish import checked_tag

    *given, repository = references
    name = repository.removeprefix(PREFIX)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name, re.ASCII):
        raise UsageError(f"{repository}: the last argument is the repository, as org/name")
    if run is None and not given:
        raise UsageError("publish: name the datasets before the repository, or a run with --run")
    checked_tag(tag)
    if run is None and len(given) == 1 and (model := _model_folder(typed(given[0]), root)) is not None:
        version = model_publication(model, name, tag=tag, license=license, evaluations=_evaluations(model, root), allow_secrets=allow_secrets)
    else:
        of_run = _of_run(run, root) if run else _PublishedRun([], None, None)
        configs = [*of_run.configs, *(_config(reference, root) for reference in given)]
        recipe, evaluation = of_run.recipe, of_run.evaluation
        version = publication(configs, name, tag=tag, license=license, root=root, recipe=recipe, evaluation=evaluation, allow_secrets=allow_secrets)
    if dry_run:
        _list(version, branch, as_json=json)
    else:
        _publish(version, branch, private=private, as_json=json)


def _model_folder(reference: str, root: Path) -> Path | None:
    """The folder of a trained model of this name, None if it names no model."""
    from sgpo_data.paths import local_path

    folders = [folder for folder in (local_path(reference), local_path(root / reference)) if (folder / "config.json").is_file()]
    return folders[0] if folders else None


def _evaluations(folder: Path, root: Path) -> "list[EvaluationSummary]":
    """What the runs of the root found of the model in this folder."""
    from sgpo_data.names import TrainedModel
    from sgpo_data.publishing.model_evaluations import model_evaluations
    from sgpo_data.references.model import model_manifest

    manifest = model_manifest(folder)
    return [] if manifest is None else model_evaluations(str(TrainedModel.made(manifest.fingerprint)), root)


class _PublishedRun(NamedTuple):
    """What a run gives to a version."""

    configs: "list[Config]"
    recipe: Path | None
    """The frozen one, if there is one."""
    evaluation: "EvaluationSummary | None"
    """Of the model of the last round, if it was evaluated."""


def _of_run(run: str, root: Path) -> _PublishedRun:
    """The last round's datasets, with what is told of them."""
    from sgpo_data.errors import DatasetError
    from sgpo_data.evaluation.summary import evaluation_summary
    from sgpo_data.loop.folder import FROZEN
    from sgpo_data.loop.rounds import MODEL, open_run
    from sgpo_data.publishing.card import Config

    found = open_run(run, root)
    last = found.rounds[-1]
    missing = [table for table in last.missing if table != MODEL]
    if missing:
        raise DatasetError(f"{found.folder / last.place}: {', '.join(missing)} not made yet; run the recipe again")
    recipe = found.folder / FROZEN
    configs = [Config(dataset.table, dataset) for dataset in last.widest]
    return _PublishedRun(configs, recipe if recipe.is_file() else None, evaluation_summary(last.datasets))


def _config(reference: str, root: Path) -> "Config":
    from sgpo_data.publishing.card import Config
    from sgpo_data.query.catalog import NAMED
    from sgpo_data.references.dataset import existing, find_dataset

    named = NAMED.fullmatch(reference)
    if named is not None and find_dataset(reference, root) is None:
        return Config(named[1], existing(named[2], root))
    dataset = existing(typed(reference), root)
    return Config(dataset.table, dataset)


def _list(version: "Publication", branch: str, *, as_json: bool) -> None:
    from sgpo_data.publishing.publish import changes

    found = changes(version, branch=branch)
    if as_json:
        print(orjson.dumps([{"path": each.path, "bytes": each.bytes, "what": each.what} for each in found]).decode())
        return
    for each in found:
        print(f"{each.what:<8}{each.bytes:>14}  {each.path}")
    upload = sum(each.bytes for each in found if each.what in ("upload", "unknown"))
    most = "at most " if any(each.what == "unknown" for each in found) else ""
    print(f"{most}{upload} of {version.bytes} bytes to upload; nothing was changed", file=sys.stderr)


def _publish(version: "Publication", branch: str, *, private: bool, as_json: bool) -> None:
    from sgpo_data.publishing.publish import publish as published

    done = published(version, branch=branch, private=private)
    print(f"{done.repository}: {done.tag} {'is published' if done.made_now else 'was published already'}", file=sys.stderr)
    if not as_json:
        print(done.reference)
        return
    told = {"reference": done.reference, "repository": done.repository, "tag": done.tag, "commit": done.commit, "made_now": done.made_now}
    print(orjson.dumps({**told, "files": len(version.files), "bytes": version.bytes, "publish_id": version.id}).decode())
