"""A Hub-compatible server on 127.0.0.1 for the Hub's real clients: real HTTP, faults on request, and whole again after a kill.

In this process: `hub_server(folder)`. As one of its own, to be killed: `python tests/hub_server.py FOLDER --port N`.
Clients read its address from HF_ENDPOINT when they are imported, see conftest.py.
"""

import argparse
import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from hub_answers import Answer, Answers, Request
from hub_faults import Fault, Faults
from hub_repository import Repositories


@dataclass(frozen=True)
class Logged:
    """A request and what became of it; no status where the connection was cut."""

    method: str
    path: str
    user: str | None
    status: int | None
    fault: str | None
    body_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Hub:
    """The state of a server: repositories, faults, and what it was asked."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.folder = folder
        self.url = url
        self.repositories = Repositories(folder)
        self.answers = Answers(self.repositories)
        self.faults = Faults()
        self.log: list[Logged] = []

    def asked(self, method: str = "", path: str = "") -> list[Logged]:
        """The requests so far that these patterns find, in order."""
        return [each for each in self.log if re.search(method, each.method) and re.search(path, each.path)]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        self.hub: Hub | None = None
        """None: every connection is reset, as if there were no server."""
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def serving(port: int = 0) -> Iterator[Server]:
    """A server without a hub, until the block ends."""
    server = Server(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def hub_server(folder: Path) -> Iterator[Hub]:
    """A hub on a port of its own, of what is in the folder, until the block ends."""
    with serving() as server:
        server.hub = Hub(folder, server.url)
        yield server.hub


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def route(self) -> None:
        hub = self.server.hub
        if hub is None:
            return self._reset()
        fault = hub.faults.drawn(self.command, self.path)
        request = None if fault is not None and self._befell_before(fault) else self._request()
        answer = None
        if request is not None and (fault is None or fault.applied or fault.kind not in ("status", "reset", "call")):
            answer = hub.answers.answer(request)
        if fault is not None:
            answer = self._after(fault, answer)
        user = request.user if request else None
        told = Logged(self.command, self.path, user, answer.status if answer else None, fault.kind if fault else None, len(request.body) if request else 0)
        # Known before the client can act on the answer.
        hub.log.append(told)
        if answer is None:
            return self._reset()
        return self._send(answer, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = route  # noqa: N815

    def _befell_before(self, fault: Fault) -> bool:
        """Whether the connection breaks before the request is here as a whole."""
        if fault.kind == "cut_upload":
            self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
            return True
        return fault.kind == "reset" and not fault.applied

    def _after(self, fault: Fault, answer: Answer | None) -> Answer | None:
        match fault.kind:
            case "status":
                return Answer(fault.status, b"<html>it is not you, it is us</html>", {"Content-Type": "text/html", **fault.headers})
            case "reset" | "cut_upload":
                return None
            case "call":
                assert fault.call is not None
                fault.call()
                return None
            case "delay":
                threading.Event().wait(fault.seconds)
            case "flip" if answer is not None and answer.body:
                middle = len(answer.body) // 2
                body = answer.body[:middle] + bytes([answer.body[middle] ^ 1]) + answer.body[middle + 1 :]
                return Answer(answer.status, body, answer.headers)
        return answer

    def _request(self) -> Request:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, parts.path, parse_qs(parts.query), headers, self._body(), self.server.url)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while (size := int(self.rfile.readline().split(b";")[0], 16)) > 0:
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, answer: Answer, fault: Fault | None) -> None:
        kind = fault.kind if fault else None
        status, body, headers = answer.status, answer.body, dict(answer.headers)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if status == 200 and asked and "Accept-Ranges" in headers and kind != "no_range":
            size = len(body)
            first = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
            last = min(int(asked[2]), size - 1) if asked[1] and asked[2] else size - 1
            status = 206 if first < size else 416
            body = body[first : last + 1] if first < size else b""
            headers["Content-Range"] = f"bytes {first}-{last}/{size}" if first < size else f"bytes */{size}"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if kind == "cut_download" else body)
        if kind == "cut_download":
            self.close_connection = True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--faults", default="[]", help="Faults as JSON, each with the fields of hub_faults.Fault.")
    given = parser.parse_args()
    server = Server(given.port)
    server.hub = Hub(given.folder, server.url)
    server.hub.faults.add(*(Fault(**rule) for rule in json.loads(given.faults)))
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
