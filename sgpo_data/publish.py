"""Publishing: one commit on a known parent, found again after any failure, verified, and then the tag."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tenacity
from pydantic import ValidationError

from sgpo_data.errors import DatasetError, HubError, UsageError
from sgpo_data.hub import again, api, first_line, hub_faults, passing, pause, status
from sgpo_data.hub_repository import Digest, HubRepository
from sgpo_data.publication import RECORD, Publication, PublicationRecord, PublishedFile

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

log = logging.getLogger(__name__)

COMMIT_ATTEMPTS = 8
"""Each on the head of that moment; a head that moves every time may be a login that can only open pull requests."""
HISTORY = 1000
"""Commits that are searched for a publication that is there already."""
UPLOADS = 4
"""Files on their way at once."""
MOVED = frozenset({409, 412})
"""The answers of a Hub whose branch moved since its head was asked for."""


@dataclass(frozen=True)
class Published:
    """A version on the Hub."""

    repository: str
    tag: str
    commit: str
    made_now: bool
    """False if the tag was there already and holds the same."""

    @property
    def reference(self) -> str:
        """Of its commit, which no later version changes."""
        return f"hf://datasets/{self.repository}@{self.commit}"


@dataclass(frozen=True)
class Change:
    """What publishing a version would do to a file of the branch."""

    path: str
    bytes: int
    what: str
    """upload, keep or delete."""


class _TryAgainError(Exception):
    """The commit may or may not be there: look for it on the new head, and make it if it is not."""


def publish(publication: Publication, *, branch: str = "main", private: bool = True) -> Published:
    """The version on the Hub: in one commit on the branch, then under its tag; nothing is done if it is there already.

    A repository that does not exist is made, `private` or not; that of one that does is left as it is. Killed or failed, the same call goes on.
    Raises DatasetError if the tag holds something else or the login may not write, HubError if the Hub fails for too long.
    """
    hub = HubRepository(publication.repository)
    with hub_faults(hub.name, branch):
        again(lambda: api().create_repo(hub.name, repo_type="dataset", private=private, exist_ok=True))
        refs = hub.refs()
        if publication.tag in refs.tags:
            return Published(hub.name, publication.tag, _same(hub, publication, refs.tags[publication.tag]), made_now=False)
        if branch not in refs.branches:
            again(lambda: api().create_branch(hub.name, repo_type="dataset", branch=branch, exist_ok=True))
            refs = hub.refs()
        commit = _committed(hub, publication, branch, since=refs.branches[branch])
        _verify(hub, publication, commit)
        return Published(hub.name, publication.tag, _tagged(hub, publication, commit), made_now=True)


def changes(publication: Publication, *, branch: str = "main") -> list[Change]:
    """What publishing would do, by asking the Hub and changing nothing; a repository that does not exist, or is not seen, is taken for an empty one.

    Raises DatasetError if the tag holds something else.
    """
    hub = HubRepository(publication.repository)
    try:
        refs = hub.refs()
    except DatasetError:
        there: Mapping[str, Digest] = {}
        old: list[str] = []
    else:
        tagged = refs.tags.get(publication.tag)
        head = _same(hub, publication, tagged) if tagged else refs.branches.get(branch) or refs.branches["main"]
        there = hub.files(head)
        old = _obsolete(hub, publication, head, there)
    stored = {digest.sha256 for digest in there.values()}
    kept = {file.path for file in publication.files if file.is_there(there.get(file.path)) or file.sha256 in stored}
    new = [Change(file.path, file.size, "keep" if file.path in kept else "upload") for file in publication.files]
    return [*new, *(Change(path, there[path].size, "delete") for path in old)]


def checked_tag(tag: str) -> str:
    """The tag, if the Hub can have one of this name that is no commit.

    Raises UsageError if not.
    """
    if not re.fullmatch(r"\w[\w.+/-]*", tag, re.ASCII) or re.fullmatch(r"[0-9a-f]{7,40}", tag) or ".." in tag or tag.endswith((".", "/", ".lock")):
        raise UsageError(f"--tag {tag}: is no name of a version; give one such as v1 or 2026-01-31")
    return tag


def _same(hub: HubRepository, publication: Publication, commit: str) -> str:
    """The commit that the tag is at, if it holds this publication."""
    other = _differing(publication, hub.files(commit))
    if other:
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise DatasetError(
            f"{hub.name}: {publication.tag} is published already, with other content ({other[0].path}{more}, commit {commit[:8]}); give another --tag"
        )
    return commit


def _differing(publication: Publication, there: Mapping[str, Digest]) -> list[PublishedFile]:
    return [file for file in publication.files if not file.is_there(there.get(file.path))]


def _committed(hub: HubRepository, publication: Publication, branch: str, *, since: str) -> str:
    """The one commit of this publication: an earlier one that was never tagged, or one made now; the branch was at `since` when this began."""
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_TryAgainError), stop=tenacity.stop_after_attempt(COMMIT_ATTEMPTS), wait=pause, reraise=True
    )
    try:
        return attempts(lambda: _attempt(hub, publication, branch, since))
    except _TryAgainError as error:
        if error.__cause__ is not None and status(error) not in MOVED:
            raise
        raise HubError(
            f"{hub.name}: {branch} moved at each of {COMMIT_ATTEMPTS} attempts; try again later, or with a login that may do more than open pull requests"
        ) from error


def _attempt(hub: HubRepository, publication: Publication, branch: str, since: str) -> str:
    refs = hub.refs()
    if publication.tag in refs.tags:
        return _same(hub, publication, refs.tags[publication.tag])
    head = refs.branches[branch]
    made = _made_before(hub, publication, head, since=since)
    if made is not None:
        return made
    there = hub.files(head)
    new = _differing(publication, there)
    old = _obsolete(hub, publication, head, there)
    if not new and not old:
        return head
    log.info("%s: %d of %d files, %.1f MB, go to %s", hub.name, len(new), len(publication.files), sum(file.size for file in new) / 1e6, branch)
    try:
        _commit(hub, publication, branch, head, new, old)
    except Exception as error:
        if passing(error) or status(error) in MOVED:
            raise _TryAgainError(first_line(error)) from error
        raise
    # What the client answers may be a commit of somebody else: it makes none where it finds nothing to change.
    made = _made_before(hub, publication, hub.refs().branches[branch], since=since)
    if made is None:
        raise _TryAgainError(f"{branch} does not have the commit")
    return made


def _commit(hub: HubRepository, publication: Publication, branch: str, head: str, new: list[PublishedFile], old: list[str]) -> None:
    from huggingface_hub import CommitOperationDelete

    additions = {file.path: _addition(file) for file in new}
    # Of two files with one content the client would upload both, so each content goes up by itself first.
    unique = {file.sha256: additions[file.path] for file in new}
    api().preupload_lfs_files(hub.name, unique.values(), repo_type="dataset", revision=branch, num_threads=UPLOADS, free_memory=False)
    operations: list[CommitOperationAdd | CommitOperationDelete] = [*additions.values(), *(CommitOperationDelete(path, is_folder=False) for path in old)]
    api().create_commit(
        hub.name,
        operations,
        commit_message=f"Publish {publication.tag}",
        commit_description=f"{_claim(publication)}\n{_version(publication)}",
        repo_type="dataset",
        revision=branch,
        parent_commit=head,
        num_threads=UPLOADS,
    )


def _addition(file: PublishedFile) -> "CommitOperationAdd":
    from huggingface_hub import CommitOperationAdd

    made = CommitOperationAdd(file.path, file.content)
    # Known and checked, so there is no need to read the file once more.
    made.upload_info.sha256 = bytes.fromhex(file.sha256)
    return made


def _claim(publication: Publication) -> str:
    return f"publish-id: {publication.id}"


def _version(publication: Publication) -> str:
    return f"version: {publication.tag}"


def _made_before(hub: HubRepository, publication: Publication, head: str, *, since: str) -> str | None:
    """The commit that carries the id of this publication, None if there is none.

    Raises DatasetError if somebody else published the version since that commit, and may be about to tag it.
    """
    newer = True
    for commit in hub.history(head, HISTORY):
        lines = commit.description.splitlines()
        if _claim(publication) in lines:
            return commit.id
        newer = newer and commit.id != since
        if newer and _version(publication) in lines:
            raise DatasetError(
                f"{hub.name}: somebody else is publishing {publication.tag} with other content just now (commit {commit.id[:8]}); give another --tag"
            )
    return None


def _obsolete(hub: HubRepository, publication: Publication, head: str, there: Mapping[str, Digest]) -> list[str]:
    """Files of the version before that this one does not have; what was not published by us stays."""
    if RECORD not in there:
        return []
    content = hub.small_file(head, RECORD, there[RECORD])
    try:
        before = PublicationRecord.model_validate_json(content)
    except ValidationError as error:
        raise DatasetError(f"{hub.name}@{head[:8]}/{RECORD}: is no record of this version of sgpo-data; take it away to publish here") from error
    own = {file.path for file in publication.files}
    return [path for path in before.files if path in there and path not in own]


def _verify(hub: HubRepository, publication: Publication, commit: str) -> None:
    other = _differing(publication, hub.files(commit))
    if other:
        raise HubError(f"{hub.name}@{commit[:8]}: the Hub has {other[0].path} otherwise than it was sent ({len(other)} files); nothing was tagged")


def _tagged(hub: HubRepository, publication: Publication, commit: str) -> str:
    """The commit that the tag is at in the end, with this content."""

    def tag() -> str | None:
        # Asked before each attempt: the answer to the one before may have been lost.
        if publication.tag not in hub.refs().tags:
            try:
                api().create_tag(hub.name, repo_type="dataset", tag=publication.tag, revision=commit)
            except Exception as error:
                if status(error) != 409:
                    raise
        return hub.refs().tags.get(publication.tag)

    there = again(tag)
    if there is None:
        raise HubError(f"{hub.name}: {publication.tag} is not there after it was set; run the same command again")
    return commit if there == commit else _same(hub, publication, there)
