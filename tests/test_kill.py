"""kill -9 of the real command line over a real model, at random moments: nothing is lost, nothing is made twice."""

import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from sgpo_data.dataset import faults, open_dataset
from sgpo_data.toy.__main__ import prompts
from sgpo_data.toy.model import base_model

WINDOW = 16
PROMPTS = 90
KILLS = int(os.environ.get("SGPO_TEST_KILLS", "6"))
STAGES = ("seed", "improve", "score-ppl", "filter", "pair")
COUNTED = Path(__file__).with_name("counted_sgpo.py")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    base_model(folder / "model")
    prompts(PROMPTS, 5, folder / "prompts.jsonl")
    return folder


def command(stage: str, given: str, out: Path, world: Path, counts: Path) -> list[str]:
    flags = {
        "seed": ["--model", str(world / "model"), "--sampling.max_tokens", "48"],
        "improve": ["--sampling.max_tokens", "48"],
        "filter": ["--gates.min_edited_words", "2"],
    }.get(stage, [])
    rows = [] if stage in ("filter", "pair") else ["--batch-tokens", "1500"]
    how = ["--window", str(WINDOW), "--part-rows", "25", *rows, "--root", str(out.parent / "runs"), "--progress", "none"]
    return [sys.executable, str(COUNTED), str(counts), stage, given, "-o", str(out), *flags, *how]


def run_killed(command: list[str], counts: Path, after: int | None) -> bool:
    """Runs the command, kills it once `after` more requests are drawn (or None: lets it end); whether it ended by itself."""
    before = lines(counts)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while process.poll() is None:
        if after is not None and lines(counts) - before >= after:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return False
        time.sleep(0.002)
    assert process.returncode == 0, process.stderr.read() if process.stderr else ""
    return True


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def chain(folder: Path, world: Path, kills: list[tuple[str, int]]) -> dict[str, int]:
    """Runs all stages, each killed where `kills` says and started again; requests drawn by stage."""
    folder.mkdir()
    drawn = {}
    given = str(world / "prompts.jsonl")
    for stage in STAGES:
        counts = folder / f"{stage}.drawn"
        for _, after in (kill for kill in kills if kill[0] == stage):
            run_killed(command(stage, given, folder / stage, world, counts), counts, after)
        assert run_killed(command(stage, given, folder / stage, world, counts), counts, None)
        drawn[stage] = lines(counts)
        given = str(folder / stage)
    return drawn


def assert_equal(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    assert found.height == expected.height
    assert found.columns == expected.columns
    for column in expected.columns:
        if expected.schema[column] == pl.Float64:
            for ours, theirs in zip(found[column], expected[column], strict=True):
                assert ours == theirs or math.isclose(ours, theirs, rel_tol=1e-5, abs_tol=1e-5), column
        else:
            assert found[column].to_list() == expected[column].to_list(), column


def test_a_chain_killed_at_random_moments_ends_as_an_undisturbed_one(world: Path, tmp_path: Path) -> None:
    dice = random.Random(17)
    kills = [(stage, dice.randrange(1, 70)) for stage in dice.choices(("seed", "improve", "score-ppl"), k=KILLS)]
    undisturbed = chain(tmp_path / "undisturbed", world, [])
    killed = chain(tmp_path / "killed", world, kills)
    for stage in STAGES:
        ours, theirs = open_dataset(tmp_path / "killed" / stage), open_dataset(tmp_path / "undisturbed" / stage)
        assert faults(ours) == []
        assert_equal(ours.scan().collect(), theirs.scan().collect())
        assert ours.manifest.fingerprint == theirs.manifest.fingerprint
        assert killed[stage] <= undisturbed[stage] + WINDOW * sum(kill[0] == stage for kill in kills)
    assert sum(killed.values()) > sum(undisturbed.values())
