"""A repository on the Hub: its branches and tags, its files at a commit with their digests, its history."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from urllib.parse import quote

from sgpo_data.errors import HubError
from sgpo_data.hub.client import Kind, again, api, hub_faults
from sgpo_data.names import COMMIT


@dataclass(frozen=True)
class Digest:
    """What tells contents apart: SHA-256 for large files, git's SHA-1 for the others."""

    size: int
    sha256: str | None
    oid: str
    """Of git; of a large file, that of its pointer."""

    def of(self, content: bytes) -> bool:
        """Whether it is the digest of this content."""
        if self.sha256 is not None:
            return hashlib.sha256(content).hexdigest() == self.sha256
        return git_oid(content) == self.oid


@dataclass(frozen=True)
class Refs:
    """Branches and tags, each the name of a commit."""

    branches: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class HubCommit:
    """A commit, as its history tells of it."""

    id: str
    title: str
    description: str


@dataclass(frozen=True)
class HubRepository:
    """A dataset or model repository; every question is asked again while it fails in a way that can pass.

    Its methods raise DatasetError if there is no such thing or no access to it, HubError if the Hub cannot be asked.
    """

    name: str
    kind: Kind = "dataset"

    def refs(self) -> Refs:
        """The branches and tags it has now."""
        with hub_faults(self.name, kind=self.kind):
            found = again(lambda: api().list_repo_refs(self.name, repo_type=self.kind))
        return Refs({ref.name: ref.target_commit for ref in found.branches}, {ref.name: ref.target_commit for ref in found.tags})

    def commit(self, revision: str | None) -> str:
        """The commit that a branch or tag (the default branch if None) stands for now; a commit hash is taken as it is."""
        if revision is not None and COMMIT.fullmatch(revision):
            return revision
        with hub_faults(self.name, revision, kind=self.kind):
            # Unlike a download, this never answers from the cache when the Hub is down.
            found = again(lambda: api().repo_info(self.name, repo_type=self.kind, revision=revision)).sha
        if found is None:
            raise HubError(f"{self.name}: the Hub names no commit for revision {revision or 'main'}")
        return found

    def files(self, commit: str) -> dict[str, Digest]:
        """Path and digest of every file at a commit."""
        from huggingface_hub.hf_api import RepoFile

        with hub_faults(self.name, commit, kind=self.kind):
            entries = again(lambda: list(api().list_repo_tree(self.name, repo_type=self.kind, revision=commit, recursive=True)))
        return {entry.path: Digest(entry.size, entry.lfs.sha256 if entry.lfs else None, entry.blob_id) for entry in entries if isinstance(entry, RepoFile)}

    def history(self, revision: str, limit: int) -> list[HubCommit]:
        """The newest commits of a revision, the newest first."""
        from huggingface_hub.utils import build_hf_headers, paginate

        path = f"{api().endpoint}/api/{self.kind}s/{self.name}/commits/{quote(revision, safe='')}"

        def asked() -> list[HubCommit]:
            entries: Iterator[dict[str, str]] = iter(paginate(path, params={}, headers=build_hf_headers()))
            return [HubCommit(each["id"], each["title"], each["message"]) for each in islice(entries, limit)]

        with hub_faults(self.name, revision, kind=self.kind):
            return again(asked)

    def small_file(self, commit: str, path: str, digest: Digest) -> bytes:
        """A file at a commit, in memory, once its content is what the digest says.

        Raises HubError if it comes damaged.
        """
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = hf_hub_url(self.name, path, repo_type=self.kind, revision=commit)

        def asked() -> bytes:
            response = get_session().get(url, headers=build_hf_headers())
            hf_raise_for_status(response)
            return bytes(response.content)

        with hub_faults(self.name, commit, kind=self.kind):
            content = again(asked)
        if not digest.of(content):
            raise HubError(f"{self.name}@{commit[:8]}/{path}: came damaged from the Hub; run the same command again")
        return content


def git_oid(content: bytes) -> str:
    """What git names this content by."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
