"""A real S3 server in a thread, moto's, which fails a share of its requests and drops their connections where a test asks for it."""

import random
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Literal, NoReturn

from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "bucket"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
Failure = Literal["500", "503", "dropped", "answer dropped", "cut"]
FAILURES: tuple[Failure, ...] = ("500", "503", "dropped", "answer dropped", "cut")
ANSWER = b'<?xml version="1.0"?><Error><Code>%s</Code><Message>try again</Message></Error>'
CODES = {"500": ("500 Internal Server Error", b"InternalError"), "503": ("503 Service Unavailable", b"SlowDown")}

Start = Callable[..., Any]


@dataclass
class FaultyBuckets:
    """The server's application, with faults before it."""

    app: Any
    log: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request."""
    answered: list[tuple[str, str]] = field(default_factory=list)
    """Of those that did not fail."""
    failed: list[str] = field(default_factory=list)
    """How those that failed did."""
    share: float = 0.0
    """Of requests that fail."""
    failing: Failure | None = None
    """How the next request fails, whatever the share; the callback below may set it."""
    told: Callable[[str, str], object] = lambda method, path: None
    """Told of each request before it is answered."""
    chosen: random.Random = field(default_factory=lambda: random.Random(7))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        # Read whole, as a server does that answers a request and drops the connection then; what is left unread would reset it.
        body = environ["wsgi.input"].read() if environ.get("wsgi.input_terminated") else environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        request = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.told(*request)
        with self.lock:
            self.log.append(request)
            failure = self.chosen.choice(FAILURES) if self.chosen.random() < self.share else self.failing
            if failure is None:
                self.answered.append(request)
            else:
                self.failed.append(failure)
        return self._failing(failure, environ, start) if failure else self.app(environ, start)

    def _failing(self, failure: Failure, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if failure in CODES:
            status, code = CODES[failure]
            start(status, [("Content-Type", "application/xml")])
            return [ANSWER % code]
        if failure == "cut":
            return self._cut(environ, start)
        if failure == "answer dropped":
            list(self.app(environ, lambda *_: lambda _: None))
        return _dropped(environ)

    def _cut(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """Half of the answer, then nothing."""
        content = b"".join(self.app(environ, start))

        def sent() -> Iterator[bytes]:
            yield content[: len(content) // 2]
            _dropped(environ)

        return sent()


def _dropped(environ: dict[str, Any]) -> NoReturn:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:
        """Nothing: the broken connections are meant."""


@dataclass
class BucketServer:
    """A running server with an empty bucket."""

    url: str
    buckets: FaultyBuckets

    @property
    def client(self) -> Any:  # noqa: ANN401
        """Another client than the one that is tested, of another library."""
        import boto3

        return boto3.client("s3", endpoint_url=self.url)

    def emptied(self) -> "BucketServer":
        """The same without faults, and with nothing in its bucket."""
        self.buckets.share, self.buckets.failing, self.buckets.told = 0.0, None, lambda method, path: None
        for each in self.client.list_buckets()["Buckets"]:
            for entry in self.client.list_objects_v2(Bucket=each["Name"]).get("Contents", []):
                self.client.delete_object(Bucket=each["Name"], Key=entry["Key"])
            self.client.delete_bucket(Bucket=each["Name"])
        self.client.create_bucket(Bucket=BUCKET)
        self.buckets.log.clear()
        self.buckets.answered.clear()
        self.buckets.failed.clear()
        self.buckets.chosen.seed(7)
        return self

    def keys(self, below: str = "") -> list[str]:
        """What is in the bucket, without the path before."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=below).get("Contents", [])
        return [str(entry["Key"]).removeprefix(below).lstrip("/") for entry in found]

    def content(self, key: str) -> bytes:
        """Of an object."""
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def put(self, key: str, content: bytes) -> None:
        """Makes an object."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)


def bucket_serving() -> tuple[BucketServer, Callable[[], None]]:
    """A server, and what ends it."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    buckets = FaultyBuckets(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, buckets, threaded=True, request_handler=_Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return BucketServer(f"http://127.0.0.1:{server.server_port}", buckets), server.shutdown
