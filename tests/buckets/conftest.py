"""A bucket for each test, on one server for all of them."""

from collections.abc import Iterator

import pytest

pytest.importorskip("s3fs", reason="the extra s3 is not installed")
pytest.importorskip("moto.server", reason="moto, of the extra dev, is not installed")
from bucket_server import CREDENTIALS, BucketServer, bucket_serving

from sgpo_data.buckets.client import bucket_files


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[BucketServer]:
    """A real S3 server."""
    for name, value in CREDENTIALS.items():
        pytest.MonkeyPatch().setenv(name, value)
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
    bucket_files.cache_clear()
    yield bucket_server.emptied()
    bucket_files.cache_clear()
