"""sgpo publish: datasets as one version of a dataset repository on the Hub."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from sgpo_data.execution import ROOT

from .references import typed

if TYPE_CHECKING:
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
    """Publish datasets, or a trained model, as a version on the Hub: one commit, verified, then the tag.

    The same version again does nothing; a tag that holds something else is refused. Killed or cut off, the same command goes on.
    The last line printed is the reference of the commit. The login is that of HF_TOKEN or of hf auth login.
    """
    from sgpo_data.publishing.choice import chosen

    *given, repository = references
    named = [typed(reference) for reference in given]
    version = chosen(named, repository, tag=tag, run=run, license=license, root=root, allow_secrets=allow_secrets)
    if dry_run:
        _list(version, branch, as_json=json)
    else:
        _publish(version, branch, private=private, as_json=json)


def _list(version: "Publication", branch: str, *, as_json: bool) -> None:
    from sgpo_data.publishing.publish import preview

    found = preview(version, branch=branch)
    if as_json:
        print(orjson.dumps([{"path": each.path, "bytes": each.bytes, "what": each.what} for each in found.changes]).decode())
        return
    for each in found.changes:
        print(f"{each.what:<8}{each.bytes:>14}  {each.path}")
    print(f"{'' if found.known else 'at most '}{found.upload_bytes} of {found.bytes} bytes to upload; nothing was changed", file=sys.stderr)


def _publish(version: "Publication", branch: str, *, private: bool, as_json: bool) -> None:
    from sgpo_data.publishing.publish import publish as published

    done = published(version, branch=branch, private=private)
    print(f"{done.repository}: {done.tag} {'is published' if done.made_now else 'was published already'}", file=sys.stderr)
    if not as_json:
        print(done.reference)
        return
    told = {"reference": done.reference, "repository": done.repository, "tag": done.tag, "commit": done.commit, "made_now": done.made_now}
    print(orjson.dumps({**told, "files": len(version.files), "bytes": version.bytes, "publish_id": version.id}).decode())
