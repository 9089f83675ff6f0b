"""Settings that have to stand before the first import of the libraries they are for, and the Hub and the buckets of the tests."""

import atexit
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from bucket_server import CREDENTIALS, BucketServer, bucket_serving
from hub_answers import OWNER
from hub_server import Hub, Server
from vllm_server import vllm_serving, write_served_model

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
os.environ.setdefault("NO_PROXY", "127.0.0.1,localhost")
os.environ.setdefault("COLUMNS", "120")
# Clusters of the tests are theirs alone, and their workers are not the last in the queue for a processor.
os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}

TESTS = Path(__file__).parent

# The Hub of this process; it resets every connection until a test asks for `hub`. No test reaches another one, or the caches and the login of a user.
SERVER = Server()
threading.Thread(target=SERVER.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
HOME = tempfile.mkdtemp(prefix="sgpo-tests-hf-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ |= {"HF_ENDPOINT": SERVER.url, "HF_HOME": HOME}
for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_HUB_OFFLINE"):
    os.environ.pop(name, None)

LONGEST = (
    "running/test_real.py",
    "running/test_kill.py",
    "running/test_on_ray.py",
    "test_docs.py",
    "engines/test_vllm_engine.py",
    "engines/test_vllm_server.py",
    "running/test_pipeline.py",
    "engines/test_openai_engine.py",
    "loop/test_loop.py",
    "publishing/test_reproduce.py",
    "health/test_guards.py",
    "evaluation/test_tasks.py",
    "publishing/test_publish_kill.py",
)
"""Files that take a minute or more, longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first, so that at the end no process waits for another that has just begun one of them."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.relative_to(TESTS).as_posix(), len(LONGEST)))


@pytest.fixture(scope="session")
def served_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that the server of the tests serves."""
    return write_served_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def vllm_server(served_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """That model at a real vLLM server, started once for all tests that ask it."""
    with vllm_serving(served_model, tmp_path_factory.mktemp("log")) as url:
        yield url


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty Hub for the clients of this process, logged in as owner, with fresh caches; clients that would wait before they try again do not."""
    from huggingface_hub import HfFileSystem, constants
    from huggingface_hub.utils import _http

    from sgpo_data.hub import client as ours

    monkeypatch.setattr(ours, "PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("HF_TOKEN", OWNER)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf-cache"))
    monkeypatch.setattr(_http, "time", SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None}))
    HfFileSystem.clear_instance_cache()
    SERVER.hub = Hub(tmp_path / "hf-hub", SERVER.url)
    yield SERVER.hub
    leaks = SERVER.hub.answers.leaks
    SERVER.hub = None
    assert leaks == []


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[BucketServer]:
    """A real S3 server."""
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    pytest.importorskip("moto.server", reason="moto, of the extra dev, is not installed")
    server, end = bucket_serving()
    yield server
    end()


@pytest.fixture
def bucket(bucket_server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketServer]:
    """The server with an empty bucket, which the environment names."""
    for name in ("AWS_PROFILE", "AWS_MAX_ATTEMPTS", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": bucket_server.url, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    from sgpo_data.buckets.client import bucket_files

    bucket_files.cache_clear()
    yield bucket_server.emptied()
    bucket_files.cache_clear()
