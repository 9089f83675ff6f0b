"""Publishing: one commit on a known parent, found again after any failure, verified, and then the tag."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from sgpo_data.errors import DatasetError, HubError, ModelError, UsageError
from sgpo_data.hub.client import Kind, again, api, hub_faults, status
from sgpo_data.hub.commit import CommitCheck, commit_once
from sgpo_data.hub.repository import Digest, HubCommit, HubRepository
from sgpo_data.hub.version import publication_record
from sgpo_data.names import HubModel, HubPlace
from sgpo_data.publishing.publication import Publication

log = logging.getLogger(__name__)

UNASKED = "the files listed and their bytes are those of the version; which of them the Hub has already, and whether {tag} is taken, is unknown"


@dataclass(frozen=True)
class PublishedVersion:
    """A version on the Hub."""

    repository: str
    tag: str
    commit: str
    made_now: bool
    """False if the tag was there already and holds the same."""
    kind: Kind = "dataset"

    @property
    def reference(self) -> str:
        """Of its commit, which no later version changes."""
        return str(HubPlace(self.repository, self.commit, "")) if self.kind == "dataset" else HubModel(self.repository, self.commit).place


@dataclass(frozen=True)
class Change:
    """What publishing a version would do to a file of the branch."""

    path: str
    bytes: int
    what: Literal["upload", "keep", "delete", "unknown"]
    """unknown where the Hub could not be asked."""


@dataclass(frozen=True)
class VersionPreview:
    """What publishing a version would do."""

    changes: tuple[Change, ...]
    """Each of its files, then those that it takes away."""
    bytes: int
    """Of all its files."""

    @property
    def known(self) -> bool:
        """Whether the Hub has told what it has."""
        return all(each.what != "unknown" for each in self.changes)

    @property
    def upload_bytes(self) -> int:
        """To be sent; the most it can be where what the Hub has is not known."""
        return sum(each.bytes for each in self.changes if each.what in ("upload", "unknown"))


def publish(publication: Publication, *, branch: str = "main", private: bool = True) -> PublishedVersion:
    """The version on the Hub: in one commit on the branch, then under its tag; nothing is done if it is there already.

    A repository that does not exist is made, `private` or not; that of one that does is left as it is. Killed or failed, the same call goes on.
    Raises DatasetError if the tag holds something else or the login may not write, HubError if the Hub fails for too long.
    """
    hub = HubRepository(publication.repository, publication.kind)
    with hub_faults(hub.name, branch, kind=hub.kind):
        again(lambda: api().create_repo(hub.name, repo_type=hub.kind, private=private, exist_ok=True))
        refs = hub.refs()
        if publication.tag in refs.tags:
            return PublishedVersion(hub.name, publication.tag, _same(hub, publication, refs.tags[publication.tag]), False, hub.kind)
        if branch not in refs.branches:
            again(lambda: api().create_branch(hub.name, repo_type=hub.kind, branch=branch, exist_ok=True))
            refs = hub.refs()
        commit = commit_once(
            publication.contribution((_version(publication),)),
            branch,
            since=refs.branches[branch],
            settled=lambda now: _same(hub, publication, now.tags[publication.tag]) if publication.tag in now.tags else None,
            obsolete=partial(_obsolete, publication),
            met=_since(publication),
        )
        return PublishedVersion(hub.name, publication.tag, _tag(hub, publication, commit), True, hub.kind)


def preview(publication: Publication, *, branch: str = "main") -> VersionPreview:
    """What publishing would do, by asking the Hub and changing nothing; a repository that does not exist, or is not seen, is taken for an empty one.

    Offline, or where the Hub fails for too long, every file is listed as unknown, with a warning.
    Raises DatasetError if the tag holds something else.
    """
    try:
        there, old = _present(publication, branch)
    except HubError as error:
        log.warning("%s; %s", error.fault, UNASKED.format(tag=publication.tag))
        return VersionPreview(tuple(Change(file.path, file.size, "unknown") for file in publication.files), publication.bytes)
    stored = {digest.sha256 for digest in there.values()}
    kept = {file.path for file in publication.files if file.is_there(there.get(file.path)) or file.sha256 in stored}
    new = [Change(file.path, file.size, "keep" if file.path in kept else "upload") for file in publication.files]
    return VersionPreview((*new, *(Change(path, there[path].size, "delete") for path in old)), publication.bytes)


def _present(publication: Publication, branch: str) -> tuple[Mapping[str, Digest], list[str]]:
    """The files of the branch, and the paths of those that this version takes away."""
    hub = HubRepository(publication.repository, publication.kind)
    try:
        refs = hub.refs()
    except (DatasetError, ModelError):
        return {}, []
    tagged = refs.tags.get(publication.tag)
    head = _same(hub, publication, tagged) if tagged else refs.branches.get(branch) or refs.branches["main"]
    there = hub.files(head)
    return there, _obsolete(publication, head, there)


def checked_tag(tag: str) -> str:
    """The tag, if the Hub can have one of this name that is no commit.

    Raises UsageError if not.
    """
    if not re.fullmatch(r"\w[\w.+/-]*", tag, re.ASCII) or re.fullmatch(r"[0-9a-f]{7,40}", tag) or ".." in tag or tag.endswith((".", "/", ".lock")):
        raise UsageError(f"--tag {tag}: is no name of a version; give one such as v1 or 2026-01-31")
    return tag


def _same(hub: HubRepository, publication: Publication, commit: str) -> str:
    """The commit that the tag is at, if it holds this publication."""
    other = publication.contribution().differing(hub.files(commit))
    if other:
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise DatasetError(
            f"{hub.name}: {publication.tag} is published already, with other content ({other[0].path}{more}, commit {commit[:8]}); give another --tag"
        )
    return commit


def _since(publication: Publication) -> CommitCheck:
    """Raises DatasetError at a commit of the same version with other content, which may be about to be tagged."""

    def met(commit: HubCommit) -> None:
        if _version(publication) in commit.description.splitlines():
            raise DatasetError(
                f"{publication.repository}: somebody else is publishing {publication.tag} with other content just now (commit {commit.id[:8]}); "
                "give another --tag"
            )

    return met


def _version(publication: Publication) -> str:
    return f"version: {publication.tag}"


def _obsolete(publication: Publication, head: str, there: Mapping[str, Digest]) -> list[str]:
    """Files of the version before that this one does not have; what was not published by us stays."""
    before = publication_record(HubRepository(publication.repository, publication.kind), head, there)
    own = {file.path for file in publication.files}
    return [] if before is None else [path for path in before.files if path in there and path not in own]


def _tag(hub: HubRepository, publication: Publication, commit: str) -> str:
    """The commit that the tag is at in the end, with this content."""

    def tag() -> str | None:
        # Asked before each attempt: the answer to the one before may have been lost.
        if publication.tag not in hub.refs().tags:
            try:
                api().create_tag(hub.name, repo_type=hub.kind, tag=publication.tag, revision=commit)
            except Exception as error:
                if status(error) != 409:
                    raise
        return hub.refs().tags.get(publication.tag)

    there = again(tag)
    if there is None:
        raise HubError(f"{hub.name}: {publication.tag} is not there after it was set; run the same command again")
    return commit if there == commit else _same(hub, publication, there)
