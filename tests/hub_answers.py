"""What a hub answers to each request of the Hub's clients: the fields they read, the codes they act on, and who may do what."""

import base64
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, unquote, urlencode

from hub_repository import Commit, RefusalError, Repositories, Repository
from hub_storage import File, git_oid, pointer

OWNER = "hf_OwnerOwnerOwnerOwnerOwnerOwnerOwne"
READER = "hf_ReaderReaderReaderReaderReaderRead"
STRANGER = "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"
USERS = {OWNER: "owner", READER: "reader", STRANGER: "stranger"}
"""Owner and reader belong to the organisation `org`; the reader's token can only read. The stranger sees what is public."""
LARGE = (".parquet", ".safetensors", ".bin", ".arrow", ".zip", ".gz")
LARGE_BYTES = 10_000_000


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    """Raw, without its query."""
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    """Names in small letters."""
    body: bytes
    origin: str
    """http://127.0.0.1:PORT"""

    @property
    def segments(self) -> list[str]:
        # Split before unquoting: a branch feature/x is one segment, feature%2Fx.
        return [unquote(segment) for segment in self.path.split("/")[1:]]

    @property
    def token(self) -> str | None:
        return self.headers["authorization"].removeprefix("Bearer ") if "authorization" in self.headers else None

    @property
    def user(self) -> str | None:
        return USERS.get(self.token or "")

    def json(self) -> dict[str, object]:
        found = json.loads(self.body or b"{}")
        assert isinstance(found, dict)
        return found

    def flag(self, name: str) -> bool:
        return self.query.get(name, ["false"])[0].lower() in ("true", "1")


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def told(value: object, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()})


def refused(error: RefusalError) -> Answer:
    return told({"error": str(error)}, error.status, X_Error_Message=str(error), **({"X_Error_Code": error.code} if error.code else {}))


class Answers:
    def __init__(self, repositories: Repositories) -> None:
        self.repositories = repositories
        self.page_size = 1000
        self.part_bytes = 1 << 26
        """LFS objects above this go up in parts of it."""
        self.parts: dict[tuple[str, int], bytes] = {}
        self.leaks: list[str] = []
        """Requests that brought a token to an origin it is not for."""
        self.adopt: Callable[[Repository, str], bool] = lambda repository, sha256: False
        """Takes in an object that went up another way than by LFS; whether it did."""
        self.xet_token: Callable[[Repository, Request], Answer] = lambda repository, request: told({"error": "no xet here"}, 404)

    def answer(self, request: Request) -> Answer:
        try:
            if request.token is not None and request.user is None:
                raise RefusalError(401, "Invalid credentials in Authorization header")
            return self._routed(request)
        except RefusalError as error:
            return refused(error)

    def _routed(self, request: Request) -> Answer:
        match request.segments:
            case ["api", "agent-harnesses"]:
                return told({"harnesses": [], "standard_env_vars": []})
            case ["api", "whoami-v2"]:
                return self._who(request)
            case ["api", "validate-yaml"]:
                return self._validated(request)
            case ["api", "repos", "create"]:
                return self._create(request)
            case ["api", "repos", "delete"]:
                return self._delete(request)
            case ["api", "datasets" | "models" as kinds, org, name, *rest]:
                return self._api(request, f"{org}/{name}", kinds.removesuffix("s"), rest)
            case ["datasets", org, name, "info", "lfs", *rest]:
                return self._lfs(request, self._readable(request, f"{org}/{name.removesuffix('.git')}", "dataset"), rest)
            case [org, name, "info", "lfs", *rest]:
                return self._lfs(request, self._readable(request, f"{org}/{name.removesuffix('.git')}", "model"), rest)
            case ["datasets", org, name, "resolve", revision, *path]:
                return self._resolve(request, self._readable(request, f"{org}/{name}", "dataset"), revision, "/".join(path))
            case ["elsewhere", *rest]:
                return self._elsewhere(request, rest)
            case [org, name, "resolve", revision, *path]:
                return self._resolve(request, self._readable(request, f"{org}/{name}", "model"), revision, "/".join(path))
        return told({"error": "no such address"}, 404)

    # Who may do what

    def _readable(self, request: Request, name: str, kind: str) -> Repository:
        repository = self.repositories.all.get((kind, name))
        if repository is not None and (not repository.private or request.user in ("owner", "reader")):
            return repository
        raise RefusalError(404 if request.user else 401, "Repository not found", "RepoNotFound")

    def _writer(self, request: Request) -> str:
        if request.user is None:
            raise RefusalError(401, "Invalid username or password.")
        if request.user != "owner":
            raise RefusalError(403, "Forbidden: you don't have the rights to do this with this token")
        return request.user

    # Outside of repositories

    def _who(self, request: Request) -> Answer:
        if request.user is None:
            raise RefusalError(401, "Invalid credentials in Authorization header")
        orgs = [] if request.user == "stranger" else [{"name": "org"}]
        role = "read" if request.user == "reader" else "write"
        return told({"type": "user", "name": request.user, "orgs": orgs, "auth": {"accessToken": {"role": role}}})

    def _validated(self, request: Request) -> Answer:
        import yaml

        content = str(request.json()["content"])
        try:
            found = yaml.safe_load(content.split("---")[1]) if content.startswith("---") else {}
        except yaml.YAMLError as error:
            return told({"errors": [{"message": str(error)}], "warnings": []}, 400)
        if not isinstance(found, dict):
            return told({"errors": [{"message": "metadata is no mapping"}], "warnings": []}, 400)
        return told({"errors": [], "warnings": []})

    def _create(self, request: Request) -> Answer:
        asked = request.json()
        kind = str(asked.get("type") or "model")
        name = f"{asked.get('organization') or self._writer(request)}/{asked['name']}"
        url = f"{request.origin}/{'datasets/' if kind == 'dataset' else ''}{name}"
        self._writer(request)
        try:
            self.repositories.create(name, kind, private=asked.get("visibility") == "private")
        except RefusalError as error:
            return told({"error": str(error), "url": url}, error.status)
        return told({"url": url, "name": name})

    def _delete(self, request: Request) -> Answer:
        asked = request.json()
        self._writer(request)
        self.repositories.delete(self.repositories.find(f"{asked['organization']}/{asked['name']}", str(asked.get("type") or "model")))
        return told({})

    # Inside of one

    def _api(self, request: Request, name: str, kind: str, rest: Sequence[str]) -> Answer:
        repository = self._readable(request, name, kind)
        match request.method, *rest:
            case ["GET"]:
                return self._info(request, repository, "main")
            case "GET", "revision", revision:
                return self._info(request, repository, revision)
            case "GET", "tree", revision, *path:
                return self._tree(request, repository, revision, "/".join(path))
            case "POST", "paths-info", revision:
                return self._paths(request, repository, revision)
            case "GET", "refs":
                return self._refs(request, repository)
            case "GET", "commits", revision:
                return self._commits(request, repository, revision)
            case "GET", "xet-read-token" | "xet-write-token", _:
                return self.xet_token(repository, request)
        self._writer(request)
        match request.method, *rest:
            case "PUT", "settings":
                self.repositories.set_private(repository, request.json().get("visibility") == "private" or request.json().get("private") is True)
            case "POST", "preupload", revision:
                return self._preupload(request, repository, revision)
            case "POST", "commit", revision:
                return self._commit(request, repository, revision)
            case "POST", "branch", branch:
                self.repositories.branch(repository, branch, str(request.json().get("startingPoint") or "main"))
            case "DELETE", "branch", branch:
                self.repositories.delete_ref(repository, "branches", branch)
            case "POST", "tag", revision:
                self.repositories.tag(repository, str(request.json()["tag"]), revision)
            case "DELETE", "tag", tag:
                self.repositories.delete_ref(repository, "tags", tag)
            case _:
                return told({"error": "no such address"}, 404)
        return told({})

    def _info(self, request: Request, repository: Repository, revision: str) -> Answer:
        commit = repository.at(revision)
        whole = request.flag("blobs")
        siblings = [{"rfilename": path, **(_blob(file) if whole else {})} for path, file in commit.files.items()]
        identity = {"id": repository.name, "modelId": repository.name, "sha": commit.id, "private": repository.private, "lastModified": commit.date}
        return told({**identity, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0, "gated": False, "disabled": False})

    def _tree(self, request: Request, repository: Repository, revision: str, folder: str) -> Answer:
        files = repository.at(revision).files
        prefix = f"{folder}/" if folder else ""
        inside = {path: file for path, file in sorted(files.items()) if path.startswith(prefix)}
        if folder and not inside:
            raise RefusalError(404, f"{folder} does not exist on {revision}", "EntryNotFound")
        folders = sorted({parent for path in inside for parent in _parents(path) if parent.startswith(prefix) and parent != folder})
        listed = [_folder(path) for path in folders] + [_entry(path, file) for path, file in inside.items()]
        found = [entry for entry in listed if request.flag("recursive") or "/" not in str(entry["path"]).removeprefix(prefix)]
        return self._paged(request, found, lambda entry: self._expanded(request, repository, revision, entry))

    def _paths(self, request: Request, repository: Repository, revision: str) -> Answer:
        files = repository.at(revision).files
        asked = request.json() if "json" in request.headers.get("content-type", "") else parse_qs(request.body.decode())
        wanted = asked.get("paths", [])
        assert isinstance(wanted, list)
        folders = {parent for path in files for parent in _parents(path)}
        found = [_entry(path, files[path]) for path in wanted if path in files] + [_folder(path) for path in wanted if path in folders]
        return told([self._expanded(request, repository, revision, entry, always=True) for entry in found])

    def _expanded(self, request: Request, repository: Repository, revision: str, entry: dict[str, object], *, always: bool = False) -> dict[str, object]:
        if not always and not request.flag("expand"):
            return entry
        commit = repository.last_change(revision, str(entry["path"])) if entry["type"] == "file" else repository.at(revision)
        return {**entry, "lastCommit": {"id": commit.id, "title": commit.title, "date": commit.date}}

    def _refs(self, request: Request, repository: Repository) -> Answer:
        def listed(refs: Mapping[str, str], place: str) -> list[dict[str, str]]:
            return [{"name": name, "ref": f"{place}{name}", "targetCommit": target} for name, target in refs.items()]

        found = {"branches": listed(repository.branches, "refs/heads/"), "converts": [], "tags": listed(repository.tags, "refs/tags/")}
        return told({**found, "pullRequests": listed(repository.pull_requests, "")} if request.flag("include_prs") else found)

    def _commits(self, request: Request, repository: Repository, revision: str) -> Answer:
        def entry(commit: Commit) -> dict[str, object]:
            whole = {"id": commit.id, "title": commit.title, "message": commit.description, "date": commit.date}
            return {**whole, "authors": [{"user": commit.author}]}

        return self._paged(request, repository.history(revision), entry)

    def _paged(self, request: Request, found: Sequence[object], entry: Callable[..., dict[str, object]]) -> Answer:
        start, size = int(request.query.get("cursor", ["0"])[0]), int(request.query.get("limit", [str(self.page_size)])[0])
        page = [entry(each) for each in found[start : start + size]]
        if start + size >= len(found):
            return told(page)
        query = urlencode({**{name: values[0] for name, values in request.query.items()}, "cursor": start + size})
        return told(page, Link=f'<{request.origin}{request.path}?{query}>; rel="next"')

    # Writing

    def _preupload(self, request: Request, repository: Repository, revision: str) -> Answer:
        files = repository.at(revision).files
        asked = request.json()["files"]
        assert isinstance(asked, list)
        answers = []
        for each in asked:
            path, there = each["path"], files.get(each["path"])
            large = path.endswith(LARGE) or each["size"] > LARGE_BYTES
            oid = {} if there is None else {"oid": there.sha256 if there.lfs else there.oid}
            answers.append({"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, **oid})
        return told({"files": answers})

    def _commit(self, request: Request, repository: Repository, branch: str) -> Answer:
        lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        changes: dict[str, File | None] = {}
        for line in lines:
            if line["key"] != "header":
                changes |= self._change(repository, branch, line["key"], line["value"])
        page = f"{request.origin}/{'datasets/' if repository.kind == 'dataset' else ''}{repository.name}"
        if request.flag("create_pr"):
            commit, ref = self.repositories.pull_request(repository, changes, title=header["summary"])
            number = ref.rpartition("/")[2]
            return told({"commitUrl": f"{page}/commit/{commit}", "commitOid": commit, "pullRequestUrl": f"{page}/discussions/{number}"})
        told_by = {"title": header["summary"], "description": header.get("description", ""), "parent": header.get("parentCommit")}
        made = self.repositories.commit(repository, branch, changes, author=self._writer(request), **told_by)
        return told({"success": True, "commitUrl": f"{page}/commit/{made.id}", "commitOid": made.id})

    def _change(self, repository: Repository, branch: str, key: str, value: Mapping[str, str]) -> dict[str, File | None]:
        path = value["path"]
        there = repository.at(branch).files
        match key:
            case "file":
                return {path: self.repositories.storage.regular(base64.b64decode(value["content"]))}
            case "lfsFile":
                if value["oid"] not in repository.stored and not self.adopt(repository, value["oid"]):
                    raise RefusalError(400, f"LFS object {value['oid']} was never uploaded")
                return {path: self.repositories.storage.large(value["oid"])}
            case "deletedFile" if path in there:
                return {path: None}
            case "deletedFolder" if any(name.startswith(f"{path.rstrip('/')}/") for name in there):
                return {name: None for name in there if name.startswith(f"{path.rstrip('/')}/")}
        raise RefusalError(404, "A file with this name doesn't exist", "EntryNotFound")

    def _lfs(self, request: Request, repository: Repository, rest: Sequence[str]) -> Answer:
        self._writer(request)
        match rest:
            case ["objects", "batch"]:
                asked = request.json()["objects"]
                assert isinstance(asked, list)
                return told({"transfer": "basic", "objects": [self._upload(request, repository, each["oid"], each["size"]) for each in asked]})
            case ["verify"]:
                if request.json()["oid"] in repository.stored:
                    return told({})
                raise RefusalError(404, "object is not here")
        return told({"error": "no such address"}, 404)

    def _upload(self, request: Request, repository: Repository, oid: str, size: int) -> dict[str, object]:
        if oid in repository.stored:
            return {"oid": oid, "size": size}
        away = f"{elsewhere(request.origin)}/{repository.kind}/{quote(repository.name, safe='')}/{oid}"
        upload: dict[str, object] = {"href": f"{away}/whole"}
        if size > self.part_bytes:
            hrefs = {f"{number:05}": f"{away}/part/{number}" for number in range(1, math.ceil(size / self.part_bytes) + 1)}
            upload = {"href": f"{away}/complete", "header": {"chunk_size": str(self.part_bytes), **hrefs}}
        place = "datasets/" if repository.kind == "dataset" else ""
        verify = {"href": f"{request.origin}/{place}{repository.name}.git/info/lfs/verify"}
        return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}}

    # The other origin: large files, by links that need no token

    def _elsewhere(self, request: Request, rest: Sequence[str]) -> Answer:
        if request.token is not None:
            self.leaks.append(f"{request.method} {request.path}")
            raise RefusalError(400, "a token came to an origin it is not for")
        match request.method, *rest:
            case "GET" | "HEAD", "content", sha256:
                return Answer(200, self.repositories.storage.get(sha256), {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"})
            case "PUT", kind, name, oid, "whole":
                self.repositories.store(self.repositories.find(name, kind), request.body, oid)
                return Answer()
            case "PUT", _, _, oid, "part", number:
                self.parts[oid, int(number)] = request.body
                return Answer(200, b"", {"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})
            case "POST", kind, name, oid, "complete":
                asked = request.json()["parts"]
                assert isinstance(asked, list)
                numbers = [part["partNumber"] for part in asked]
                self.repositories.store(self.repositories.find(name, kind), b"".join(self.parts[oid, number] for number in numbers), oid)
                return told({})
        return told({"error": "no such address"}, 404)

    def _resolve(self, request: Request, repository: Repository, revision: str, path: str) -> Answer:
        commit = repository.at(revision)
        file = commit.files.get(path)
        if file is None:
            missing = RefusalError(404, "Entry not found", "EntryNotFound")
            return told({"error": str(missing)}, 404, X_Error_Code="EntryNotFound", X_Error_Message="Entry not found", X_Repo_Commit=commit.id)
        if not file.lfs:
            content = self.repositories.storage.get(file.sha256)
            return Answer(200, content, {"X-Repo-Commit": commit.id, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"})
        away = f"{elsewhere(request.origin)}/content/{file.sha256}"
        linked = {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
        return Answer(302, b"", {"Location": away, "X-Repo-Commit": commit.id, "ETag": f'"{file.oid}"', **linked})


def elsewhere(origin: str) -> str:
    """The origin of large files: for a client, localhost is another host than 127.0.0.1."""
    return f"{origin.replace('127.0.0.1', 'localhost')}/elsewhere"


def _parents(path: str) -> list[str]:
    names = path.split("/")[:-1]
    return ["/".join(names[: depth + 1]) for depth in range(len(names))]


def _entry(path: str, file: File) -> dict[str, object]:
    found: dict[str, object] = {"type": "file", "path": path, "oid": file.oid, "size": file.size}
    return {**found, "lfs": {"oid": file.sha256, "size": file.size, "pointerSize": len(pointer(file.sha256, file.size))}} if file.lfs else found


def _blob(file: File) -> dict[str, object]:
    found: dict[str, object] = {"blobId": file.oid, "size": file.size}
    return {**found, "lfs": {"sha256": file.sha256, "size": file.size, "pointerSize": len(pointer(file.sha256, file.size))}} if file.lfs else found


def _folder(path: str) -> dict[str, object]:
    return {"type": "directory", "path": path, "oid": git_oid(path.encode()), "size": 0}
