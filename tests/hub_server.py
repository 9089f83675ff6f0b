"""A read-only Hub on 127.0.0.1 over real HTTP: dataset repositories of regular files, given as commits of a path-to-bytes table.

Answers what `HfApi.repo_info` and `datasets.load_dataset` ask for; X-Error-Code tells the clients which thing is missing.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

Files = Mapping[str, bytes]


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    """Branches and tags, each the name of a commit."""

    def commit(self, files: Files, *, ref: str = "main") -> str:
        text = json.dumps([len(self.commits), sorted((path, git_oid(content)) for path, content in files.items())])
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.refs[ref] = sha
        return sha


@dataclass
class Hub:
    repositories: dict[str, Repository] = field(default_factory=dict)
    failing: int | None = None
    """A status that every request is answered with."""
    requests: list[str] = field(default_factory=list)
    """METHOD path, in order."""
    url: str = ""

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A hub without repositories, until the block ends. Clients read its address from HF_ENDPOINT when they are imported."""
    hub = Hub()

    class BoundHandler(Handler):
        pass

    BoundHandler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), BoundHandler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.route(b"")

    def do_HEAD(self) -> None:
        self.route(b"")

    def do_POST(self) -> None:
        self.route(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, format: str, *args: object) -> None:
        pass

    def route(self, body: bytes) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.failing is not None:
            return self.answer({"error": "failing"}, status=self.hub.failing)
        # Split before unquoting: a branch feature/x is one segment, feature%2Fx.
        segments = [unquote(segment) for segment in path.split("/")[1:]]
        match segments:
            case ["api", "datasets", org, name, *rest]:
                return self.api(f"{org}/{name}", rest, body)
            case ["datasets", org, name, "resolve", revision, *path_in_repo]:
                return self.resolve(f"{org}/{name}", revision, "/".join(path_in_repo))
            case _:
                return self.answer({"error": "no such address"}, status=404)

    def found(self, name: str, revision: str) -> tuple[str, Files] | None:
        """Commit and files; answers the request itself if there are none."""
        repository = self.hub.repositories.get(name)
        if repository is None:
            self.answer({"error": "Repository not found"}, status=404, code="RepoNotFound")
            return None
        sha = repository.refs.get(revision, revision)
        if sha not in repository.commits:
            self.answer({"error": f"Invalid rev id: {revision}"}, status=404, code="RevisionNotFound")
            return None
        return sha, repository.commits[sha]

    def api(self, name: str, rest: list[str], body: bytes) -> None:
        found = self.found(name, rest[1] if len(rest) > 1 else "main")
        if found is None:
            return None
        sha, files = found
        match rest:
            case [] | ["revision", _]:
                siblings = [{"rfilename": path} for path in files]
                return self.answer({"id": name, "sha": sha, "siblings": siblings, "private": False, "tags": [], "downloads": 0, "likes": 0})
            case ["tree", _, *folder]:
                recursive = parse_qs(urlsplit(self.path).query).get("recursive", ["false"]) != ["false"]
                return self.tree(files, "/".join(folder), recursive=recursive)
            case ["paths-info", _]:
                wanted = self.wanted_paths(body)
                folders = {parent for path in files for parent in parents(path)}
                entries = [entry(path, files[path]) for path in wanted if path in files] + [folder_entry(path) for path in wanted if path in folders]
                return self.answer(entries)
            case _:
                return self.answer({"error": "no such address"}, status=404)

    def wanted_paths(self, body: bytes) -> list[str]:
        if "json" in self.headers.get("Content-Type", ""):
            return list(json.loads(body)["paths"])
        return parse_qs(body.decode()).get("paths", [])

    def tree(self, files: Files, folder: str, *, recursive: bool) -> None:
        prefix = f"{folder}/" if folder else ""
        inside = [path for path in files if path.startswith(prefix)]
        if folder and not inside:
            return self.answer({"error": f"{folder} does not exist"}, status=404, code="EntryNotFound")
        folders = sorted({parent for path in inside for parent in parents(path) if parent.startswith(prefix) and parent != folder})
        entries = [folder_entry(path) for path in folders] + [entry(path, files[path]) for path in inside]
        return self.answer([found for found in entries if recursive or "/" not in str(found["path"]).removeprefix(prefix)])

    def resolve(self, name: str, revision: str, path: str) -> None:
        found = self.found(name, revision)
        if found is None:
            return
        sha, files = found
        if path not in files:
            self.answer({"error": "Entry not found"}, status=404, code="EntryNotFound", headers={"X-Repo-Commit": sha})
            return
        self.send(200, files[path], {"Content-Type": "application/octet-stream", "X-Repo-Commit": sha, "ETag": f'"{git_oid(files[path])}"'})

    def answer(self, value: object, *, status: int = 200, code: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        extra = {"Content-Type": "application/json"} | ({} if code is None else {"X-Error-Code": code}) | dict(headers or {})
        self.send(status, json.dumps(value).encode(), extra)

    def send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        part = content
        asked = self.headers.get("Range", "")
        if status == 200 and asked.startswith("bytes="):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            part = content[int(first) : int(last) + 1 if last else None]
            headers = {**headers, "Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"}
            status = 206
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(part)


def parents(path: str) -> list[str]:
    names = path.split("/")[:-1]
    return ["/".join(names[: depth + 1]) for depth in range(len(names))]


def entry(path: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "oid": git_oid(content), "size": len(content)}


def folder_entry(path: str) -> dict[str, object]:
    return {"type": "directory", "path": path, "oid": git_oid(path.encode()), "size": 0}
