"""Stages over a bucket whose server fails one request in ten and drops connections, killed while they write: nothing is lost, nothing is there twice."""

import os
import signal
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from bucket_server import BUCKET, BucketServer
from killing import assert_equal, counted
from literal_rows import row
from made import made_dataset
from warm import WarmProcess

from sgpo_data.references.dataset import existing
from sgpo_data.store.dataset import faults, open_dataset
from sgpo_data.toy.__main__ import prompts
from sgpo_data.toy.model import base_model

FAULTY = 0.1
KILLED_AT = {"seed": (2, 4), "filter": (2,), "pair": (1,)}
"""The uploads at which each stage is killed, one after the other; the first is of its claim."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    base_model(folder / "model")
    prompts(24, 5, folder / "prompts.jsonl")
    return folder


def words(stage: str, given: str, out: str, world: Path, root: Path) -> list[str]:
    """The command; what filter and pair read is read where it lies."""
    flags = ["--model", str(world / "model"), "--sampling.max_tokens", "12", "--part-rows", "4"] if stage == "seed" else ["--stream"]
    return counted(root.parent / "drawn", stage, given, "-o", out, *flags, "--root", str(root), "--progress", "none")


def ended(command: list[str], bucket: BucketServer, *, at: int | None) -> tuple[int, str]:
    """Exit status and standard error of the command, which is killed when its upload of this number has come to the server."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said, Path(os.devnull).open("r+b") as nothing:
        process = WarmProcess(command, [nothing.fileno(), nothing.fileno(), said.fileno()], os.environ)
        seen = 0

        def told(method: str, path: str) -> None:
            nonlocal seen
            seen += method == "PUT"
            if seen == at and method == "PUT":
                os.kill(process.pid, signal.SIGKILL)

        bucket.buckets.told = told
        status = process.wait()
        bucket.buckets.told = lambda method, path: None
        said.seek(0)
        return status, said.read()


def test_stages_over_a_bad_bucket_killed_as_they_write_end_as_local_ones(bucket: BucketServer, world: Path, tmp_path: Path) -> None:
    scored = made_dataset(tmp_path / "scored", "scored", [row(f"{number}") for number in range(40)], part_rows=4)
    for file in (*scored.paths, scored.folder / "manifest.json"):
        bucket.put(f"scored/{file.name}", file.read_bytes())
    bucket.put("raw/prompts.jsonl", (world / "prompts.jsonl").read_bytes())
    inputs = {"seed": "raw/prompts.jsonl", "filter": "scored", "pair": "made/filter"}
    local = {"seed": world / "prompts.jsonl", "filter": scored.folder, "pair": tmp_path / "filter"}
    bucket.buckets.share = FAULTY
    killed = []
    for stage, given in inputs.items():
        command = words(stage, f"s3://{BUCKET}/{given}", f"s3://{BUCKET}/made/{stage}", world, tmp_path / "runs")
        killed += [ended(command, bucket, at=at)[0] for at in KILLED_AT[stage]]
        status, said = ended(command, bucket, at=None)
        assert status == 0, said
        assert ended(words(stage, str(local[stage]), str(tmp_path / stage), world, tmp_path / "local"), bucket, at=None)[0] == 0
    assert killed == [-signal.SIGKILL] * 4
    assert len(set(bucket.buckets.failed)) > 2
    bucket.buckets.share = 0.0
    for stage in inputs:
        expected = open_dataset(tmp_path / stage)
        assert sorted(bucket.keys(f"made/{stage}")) == sorted(["manifest.json", *(path.name for path in expected.paths)])
        found = existing(f"s3://{BUCKET}/made/{stage}", tmp_path / "elsewhere")
        assert faults(found) == []
        assert_equal(found.scan().collect(), expected.scan().collect())
    answered = Counter(path for method, path in bucket.buckets.answered if method == "PUT" and "/made/" in path and path.endswith(".parquet"))
    # A kill may come between a part that the server has taken and the command that would have heard of it.
    assert sum(answered.values()) <= len(answered) + len(killed)
