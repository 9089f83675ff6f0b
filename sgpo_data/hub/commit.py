"""One commit on a branch of the Hub: on a known parent, found again after any failure, verified."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tenacity

from sgpo_data.errors import HubError, first_line
from sgpo_data.hub.client import api, passing, pause, status
from sgpo_data.hub.repository import Digest, HubCommit, HubRepository, Refs, git_oid

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

log = logging.getLogger(__name__)

COMMIT_ATTEMPTS = 8
"""Each on the head of that moment; a head that moves every time may be a login that can only open pull requests."""
HISTORY = 1000
"""Commits that are searched for one that is there already."""
UPLOADS = 4
"""Files on their way at once."""
MOVED = frozenset({409, 412})
"""The answers of a Hub whose branch moved since its head was asked for."""


@dataclass(frozen=True)
class HubFile:
    """A file for the Hub: where it goes, what it is, and what to know it by."""

    path: str
    content: Path | bytes
    """As the Hub's client takes it: a file as it lies on the disk, or the bytes of a text."""
    size: int
    sha256: str

    def is_there(self, digest: Digest | None) -> bool:
        """Whether the Hub has it, by what it says it has at this path."""
        if digest is None or digest.size != self.size:
            return False
        if digest.sha256 is not None:
            return digest.sha256 == self.sha256
        return digest.oid == git_oid(self.content if isinstance(self.content, bytes) else self.content.read_bytes())


@dataclass(frozen=True)
class Contribution:
    """Files that go to a branch together."""

    hub: HubRepository
    files: tuple[HubFile, ...]
    id: str
    """Stands in the commit, so that it is known again after a lost answer or a kill."""
    title: str
    notes: tuple[str, ...] = ()
    """Further lines of the commit."""

    @property
    def claim(self) -> str:
        """The line of the commit that carries the id."""
        return f"publish-id: {self.id}"

    def differing(self, there: Mapping[str, Digest]) -> list[HubFile]:
        """Files that are not there as they are."""
        return [file for file in self.files if not file.is_there(there.get(file.path))]


ExistingCommit = Callable[[Refs], str | None]
"""The commit that makes another one needless, as the branches and tags stand now; may raise."""
ObsoletePaths = Callable[[str, Mapping[str, Digest]], Sequence[str]]
"""Paths to be deleted, from a head and its files."""
CommitCheck = Callable[[HubCommit], None]
"""Told each commit that came since this began, and may raise."""


class _TryAgainError(Exception):
    """The commit may or may not be there: look for it on the new head, and make it if it is not."""


def commit_once(contribution: Contribution, branch: str, *, since: str, settled: ExistingCommit, obsolete: ObsoletePaths, met: CommitCheck) -> str:
    """The one commit of this contribution: one that was made before, or one made now; the branch was at `since` when this began.

    Raises HubError if the Hub fails for too long, or has in the end other files than it was sent.
    """
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_TryAgainError), stop=tenacity.stop_after_attempt(COMMIT_ATTEMPTS), wait=pause, reraise=True
    )
    name = contribution.hub.name
    try:
        commit: str = attempts(lambda: _attempt(contribution, branch, since, settled, obsolete, met))
    except _TryAgainError as error:
        if error.__cause__ is not None and status(error) not in MOVED:
            raise
        raise HubError(
            f"{name}: {branch} moved at each of {COMMIT_ATTEMPTS} attempts; try again later, or with a login that may do more than open pull requests"
        ) from error
    other = contribution.differing(contribution.hub.files(commit))
    if other:
        raise HubError(f"{name}@{commit[:8]}: the Hub has {other[0].path} otherwise than it was sent ({len(other)} files); run the same command again")
    return commit


def text_file(path: str, text: str) -> HubFile:
    """A small file of this text."""
    content = text.encode()
    return HubFile(path, content, len(content), hashlib.sha256(content).hexdigest())


def files_id(name: str, files: Sequence[HubFile]) -> str:
    """SHA-256, in hex, over a name and all files: the same for the same files at the same paths."""
    lines = [name, *sorted(f"{file.path}\0{file.size}\0{file.sha256}" for file in files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _attempt(contribution: Contribution, branch: str, since: str, settled: ExistingCommit, obsolete: ObsoletePaths, met: CommitCheck) -> str:
    hub = contribution.hub
    refs = hub.refs()
    head = refs.branches[branch]
    made = settled(refs) or _made_before(contribution, head, since, met)
    if made is not None:
        return made
    there = hub.files(head)
    new, old = contribution.differing(there), obsolete(head, there)
    if not new and not old:
        return head
    log.info("%s: %d of %d files, %.1f MB, go to %s", hub.name, len(new), len(contribution.files), sum(file.size for file in new) / 1e6, branch)
    try:
        _commit(contribution, branch, head, new, old)
    except Exception as error:
        if passing(error) or status(error) in MOVED:
            raise _TryAgainError(first_line(error)) from error
        raise
    # What the client answers may be a commit of somebody else: it makes none where it finds nothing to change.
    made = _made_before(contribution, hub.refs().branches[branch], since, met)
    if made is None:
        raise _TryAgainError(f"{branch} does not have the commit")
    return made


def _made_before(contribution: Contribution, head: str, since: str, met: CommitCheck) -> str | None:
    """The commit that carries the id of this contribution, None if there is none."""
    newer = True
    for commit in contribution.hub.history(head, HISTORY):
        if contribution.claim in commit.description.splitlines():
            return commit.id
        newer = newer and commit.id != since
        if newer:
            met(commit)
    return None


def _commit(contribution: Contribution, branch: str, head: str, new: Sequence[HubFile], old: Sequence[str]) -> None:
    from huggingface_hub import CommitOperationDelete

    hub = contribution.hub
    additions = {file.path: _addition(file) for file in new}
    # Of two files with one content the client would upload both, so each content goes up by itself first.
    unique = {file.sha256: additions[file.path] for file in new}
    api().preupload_lfs_files(hub.name, unique.values(), repo_type=hub.kind, revision=branch, num_threads=UPLOADS, free_memory=False)
    operations: list[CommitOperationAdd | CommitOperationDelete] = [*additions.values(), *(CommitOperationDelete(path, is_folder=False) for path in old)]
    api().create_commit(
        hub.name,
        operations,
        commit_message=contribution.title,
        commit_description="\n".join((contribution.claim, *contribution.notes)),
        repo_type=hub.kind,
        revision=branch,
        parent_commit=head,
        num_threads=UPLOADS,
    )


def _addition(file: HubFile) -> "CommitOperationAdd":
    from huggingface_hub import CommitOperationAdd

    made = CommitOperationAdd(file.path, file.content)
    # Known and checked, so there is no need to read the file once more.
    made.upload_info.sha256 = bytes.fromhex(file.sha256)
    return made
