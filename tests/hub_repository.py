"""Repositories as a hub keeps them: commits of whole file tables, branches, tags, LFS objects; every change is an event of the journal."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hub_storage import Event, File, Storage

STALE = "The branch was updated since you opened this page. Please refresh and try again."
ATTRIBUTES = b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class RefusalError(Exception):
    """What a hub does not do, with the status and the X-Error-Code it says so by."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Commit:
    id: str
    parent: str | None
    title: str
    description: str
    author: str
    number: int
    files: Mapping[str, File]

    @property
    def date(self) -> str:
        return (EPOCH + timedelta(seconds=self.number)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass
class Repository:
    kind: str
    """dataset or model."""
    name: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pull_requests: dict[str, str] = field(default_factory=dict)
    stored: Counter[str] = field(default_factory=Counter)
    """How often each LFS object was taken in by its SHA-256."""

    def at(self, revision: str) -> Commit:
        """The commit of a branch, tag, pull request or commit hash."""
        short = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        commit = self.branches.get(short) or self.tags.get(short) or self.pull_requests.get(revision) or revision
        if commit not in self.commits:
            raise RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[commit]

    def history(self, revision: str) -> list[Commit]:
        """Commits from this one back to the first."""
        found = [self.at(revision)]
        while (parent := found[-1].parent) is not None:
            found.append(self.commits[parent])
        return found

    def last_change(self, revision: str, path: str) -> Commit:
        """The commit that gave the file its present content."""
        history = self.history(revision)
        for newer, older in zip(history, [*history[1:], None], strict=True):
            if older is None or older.files.get(path) != newer.files[path]:
                return newer
        raise AssertionError


class Repositories:
    """All repositories of a hub; whole again after a kill, from its folder."""

    def __init__(self, folder: Path) -> None:
        self.storage = Storage(folder)
        self.all: dict[tuple[str, str], Repository] = {}
        self.lock = threading.RLock()
        for event in self.storage.replayed():
            self._apply(event)

    def find(self, name: str, kind: str = "dataset") -> Repository:
        if (kind, name) not in self.all:
            raise RefusalError(404, "Repository not found", "RepoNotFound")
        return self.all[kind, name]

    def create(self, name: str, kind: str = "dataset", *, private: bool = False) -> Repository:
        with self.lock:
            if (kind, name) in self.all:
                raise RefusalError(409, "You already created this repo")
            self._happens(event="create", kind=kind, name=name, private=private)
            first = self.commit(self.all[kind, name], "main", {".gitattributes": self.storage.regular(ATTRIBUTES)}, title="initial commit", new=True)
            assert first.parent is None
            return self.all[kind, name]

    def commit_files(self, name: str, files: Mapping[str, bytes], *, kind: str = "dataset", branch: str = "main", title: str = "files") -> str:
        """A commit of exactly these files, as regular ones, in a public repository and a branch that are made if there are none; its hash."""
        with self.lock:
            repository = self.all.get((kind, name)) or self.create(name, kind)
            if branch not in repository.branches:
                self.branch(repository, branch, "main")
            gone = dict.fromkeys(repository.at(branch).files)
            return self.commit(repository, branch, {**gone, **{path: self.storage.regular(content) for path, content in files.items()}}, title=title).id

    def commit(
        self,
        repository: Repository,
        branch: str,
        changes: Mapping[str, File | None],
        *,
        title: str,
        description: str = "",
        author: str = "owner",
        parent: str | None = None,
        new: bool = False,
    ) -> Commit:
        """A commit on a branch; None takes a file away. Refuses another parent than the head."""
        with self.lock:
            head = None if new else repository.branches.get(branch) or repository.pull_requests.get(branch)
            if head is None and not new:
                raise RefusalError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
            if parent is not None and (head is None or not head.startswith(parent)):
                raise RefusalError(412, STALE)
            entries = {path: None if file is None else asdict(file) for path, file in changes.items()}
            told: Event = {"title": title, "description": description, "author": author, "parent": head, "number": len(repository.commits)}
            commit = hashlib.sha1(json.dumps([repository.kind, repository.name, told, entries], sort_keys=True).encode()).hexdigest()
            self._happens(event="commit", kind=repository.kind, name=repository.name, branch=branch, id=commit, changes=entries, **told)
            return repository.commits[commit]

    def pull_request(self, repository: Repository, changes: Mapping[str, File | None], *, title: str) -> tuple[str, str]:
        """A commit on a ref of its own, and the name of that ref."""
        with self.lock:
            ref = f"refs/pr/{len(repository.pull_requests) + 1}"
            self._happens(event="pull_request", kind=repository.kind, name=repository.name, ref=ref, target=repository.branches["main"])
            return self.commit(repository, ref, changes, title=title).id, ref

    def store(self, repository: Repository, content: bytes, sha256: str) -> None:
        """Takes an LFS object in; refuses one that is not what it is called."""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise RefusalError(400, f"content is not {sha256}")
        self.storage.put(content)
        with self.lock:
            self._happens(event="object", kind=repository.kind, name=repository.name, sha256=sha256)

    def branch(self, repository: Repository, name: str, start: str) -> None:
        self._ref(repository, "branches", name, start)

    def tag(self, repository: Repository, name: str, revision: str) -> None:
        self._ref(repository, "tags", name, revision)

    def delete_ref(self, repository: Repository, refs: str, name: str) -> None:
        with self.lock:
            if name not in getattr(repository, refs):
                raise RefusalError(404, f"no such ref: {name}", "RevisionNotFound")
            self._happens(event="delete_ref", kind=repository.kind, name=repository.name, refs=refs, ref=name)

    def delete(self, repository: Repository) -> None:
        self._happens(event="delete", kind=repository.kind, name=repository.name)

    def set_private(self, repository: Repository, private: object) -> None:
        self._happens(event="private", kind=repository.kind, name=repository.name, private=bool(private))

    def _ref(self, repository: Repository, refs: str, name: str, revision: str) -> None:
        with self.lock:
            target = repository.at(revision).id
            if name in getattr(repository, refs):
                raise RefusalError(409, f"Reference {name} already exists")
            self._happens(event="ref", kind=repository.kind, name=repository.name, refs=refs, ref=name, target=target)

    def _happens(self, **event: object) -> None:
        self.storage.record(event)
        self._apply(event)

    def _apply(self, event: Event) -> None:
        key = str(event["kind"]), str(event["name"])
        match event["event"]:
            case "create":
                self.all[key] = Repository(*key, private=bool(event["private"]))
            case "delete":
                del self.all[key]
            case "private":
                self.all[key].private = bool(event["private"])
            case "object":
                self.all[key].stored[str(event["sha256"])] += 1
            case "ref":
                getattr(self.all[key], str(event["refs"]))[event["ref"]] = event["target"]
            case "delete_ref":
                del getattr(self.all[key], str(event["refs"]))[event["ref"]]
            case "pull_request":
                self.all[key].pull_requests[str(event["ref"])] = str(event["target"])
            case "commit":
                self._apply_commit(self.all[key], event)

    def _apply_commit(self, repository: Repository, event: Event) -> None:
        parent, branch, changes = event["parent"], str(event["branch"]), event["changes"]
        assert isinstance(changes, dict)
        files = dict(repository.commits[str(parent)].files) if parent else {}
        for path, entry in changes.items():
            if entry is None:
                files.pop(path, None)
            else:
                files[path] = File(**entry)
        title, description, author = (str(event[name]) for name in ("title", "description", "author"))
        number = int(str(event["number"]))
        commit = Commit(str(event["id"]), str(parent) if parent else None, title, description, author, number=number, files=files)
        repository.commits[commit.id] = commit
        refs = repository.pull_requests if branch in repository.pull_requests else repository.branches
        refs[branch] = commit.id
