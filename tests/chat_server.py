"""A server with the OpenAI protocol whose answers are a function of the request, and which fails as it is told: the one that every test asks."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = Callable[[str, int], str | None]
"""From a question and how often it was asked before: None, drop, hang, or a status with a body."""

Body = dict[str, object]

Complete = Callable[[Body, str, str], Body]
"""From a request, its question and how its answer is to end: a completion."""


class ChatServer(ThreadingHTTPServer):
    """Answers `question / seed` unless it is told otherwise; counts what it is asked and what it answers."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, fault: Fault, complete: Complete, *, gives_logprobs: bool, unknown: Sequence[str], seconds: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault = fault
        self.complete = complete
        self.seconds = seconds
        """That an answer takes."""
        self.gives_logprobs = gives_logprobs
        self.unknown = unknown
        """Parameters that it refuses, one at a time, each with more words of the refusal behind it or none."""
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.bodies: list[Body] = []
        self.keys: set[str | None] = set()
        self.most = 0
        self.under_way = 0
        self.released = threading.Event()
        """Set when what hangs may go on."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.keys.add(self.headers["Authorization"])
        fault = self.server.fault("models", 0)
        self._status(fault) if fault else self._send(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("/chat/completions"):
            self._status("404 Not Found")
            return
        text = body["messages"][-1]["content"]
        with server.lock:
            before = server.asked[text]
            server.asked[text] += 1
            server.bodies.append(body)
            server.keys.add(self.headers["Authorization"])
            server.under_way += 1
            server.most = max(server.most, server.under_way)
        try:
            time.sleep(server.seconds)
            self._answer(body, text, server.fault(text, before))
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with server.lock:
                server.under_way -= 1

    def _answer(self, body: Body, text: str, fault: str | None) -> None:
        if fault == "hang":
            self.server.released.wait()
        if fault in ("drop", "hang"):
            self.close_connection = True
        elif body.get("logprobs") and not self.server.gives_logprobs:
            self._status("400 logprobs is not supported by this model")
        elif unknown := [name for name in self.server.unknown if name.partition(" ")[0] in body]:
            self._status(f"400 Unrecognized request argument supplied: {unknown[0]}")
        elif fault and fault[0].isdigit():
            self._status(fault)
        else:
            with self.server.lock:
                self.server.answered[text] += 1
            self._send(200, self.server.complete(body, text, fault or "stop"))

    def _status(self, fault: str) -> None:
        status, _, rest = fault.partition(" ")
        headers = {"Retry-After": "1"} if status == "429" else {}
        self._send(int(status), {"error": {"message": rest, "type": "x", "param": None, "code": None}}, headers)

    def _send(self, status: int, body: Body, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def echo(body: Body, text: str, finish: str) -> Body:
    """The question and the seed, of four tokens."""
    entries: list[Body] = [{"token": "x", "logprob": -0.25, "bytes": None, "top_logprobs": []} for _ in range(4)]
    said = "" if finish == "empty" else f"{text} / {body.get('seed')}"
    return completion(body, said, entries, finish="stop" if finish == "empty" else finish)


def completion(body: Body, said: str, entries: Sequence[Body], *, finish: str) -> Body:
    """A reply that says this; `entries` are the log-probabilities of its tokens, given to those who ask for them."""
    logprobs = {"content": list(entries)} if body.get("logprobs") and entries else None
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "logprobs": logprobs, "finish_reason": finish}
    usage = {"prompt_tokens": 3, "completion_tokens": max(len(entries), 1), "total_tokens": 3 + max(len(entries), 1)}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice], "usage": usage}


@contextmanager
def serving(
    fault: Fault = lambda text, before: None,
    *,
    complete: Complete = echo,
    gives_logprobs: bool = True,
    unknown: Sequence[str] = (),
    seconds: float = 0.0,
) -> Iterator[ChatServer]:
    server = ChatServer(fault, complete, gives_logprobs=gives_logprobs, unknown=unknown, seconds=seconds)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
