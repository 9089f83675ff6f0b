"""A judge at a server with the OpenAI protocol, whose verdict is a function of the two answers in the prompt."""

import json
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Says = Callable[[str, str], str | float | None]
"""From the first and the second answer: a text, the probability of the first, or None to hang."""

ANSWERS = re.compile(r"### (?:Answer of model x|Answer A)\n(.*?)\n\n### (?:Answer of model y|Answer B)\n(.*?)(?:\n\n### Verdict|\Z)", re.DOTALL)


class JudgeServer(ThreadingHTTPServer):
    """Counts what it is asked by the two answers."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, says: Says, *, mass: float, seconds: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says, self.mass, self.seconds = says, mass, seconds
        self.asked: Counter[tuple[str, str]] = Counter()
        self.lock = threading.Lock()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: JudgeServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._send({"object": "list", "data": []})

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = ANSWERS.search(body["messages"][-1]["content"])
        assert found is not None, body
        with server.lock:
            server.asked[found[1], found[2]] += 1
        time.sleep(server.seconds)
        said = server.says(found[1], found[2])
        if said is None:
            server.released.wait()
            self.close_connection = True
            return
        with suppress(BrokenPipeError, ConnectionResetError):
            self._send(reply(body, said, server.mass))

    def _send(self, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def reply(body: dict[str, object], said: str | float, mass: float) -> dict[str, object]:
    """A completion; a probability comes as log-probabilities of x and y, whose sum is `mass`."""
    logprobs: dict[str, object] | None = None
    text = said if isinstance(said, str) else "x" if said > 0.5 else "y"
    if isinstance(said, float) and body.get("logprobs"):
        tokens = {" x": said * mass, "y": (1 - said) * mass, "The": 1 - mass}
        top = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in tokens.items() if p > 0]
        logprobs = {"content": [{"token": text, "logprob": -0.1, "bytes": None, "top_logprobs": top}]}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "logprobs": logprobs, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice], "usage": usage}


@contextmanager
def judging(says: Says, *, mass: float = 0.98, seconds: float = 0.0) -> Iterator[JudgeServer]:
    server = JudgeServer(says, mass=mass, seconds=seconds)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
