"""kill -9 of the real command line over a real model, at random moments: nothing is lost, nothing is made twice."""

import importlib.util
import os
import random
import signal
from pathlib import Path

import polars as pl
import pytest
from killing import assert_equal, counted, ended, lines
from one_by_one import one_after_the_other

from sgpo_data.execution import Execution
from sgpo_data.store.dataset import Dataset, faults, open_dataset
from sgpo_data.toy.__main__ import prompts
from sgpo_data.toy.model import base_model

WINDOW = 16
PROMPTS = 90
KILLS = int(os.environ.get("SGPO_TEST_KILLS", "6"))
STAGES = ("seed", "improve", "score-ppl", "filter", "pair")


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
    return counted(counts, stage, given, "-o", str(out), *flags, *how)


def chain(folder: Path, world: Path, kills: list[tuple[str, int]]) -> dict[str, int]:
    """Runs all stages, each killed where `kills` says and started again; requests drawn by stage."""
    folder.mkdir()
    drawn = {}
    given = str(world / "prompts.jsonl")
    for stage in STAGES:
        counts = folder / f"{stage}.drawn"
        for _, after in (kill for kill in kills if kill[0] == stage):
            ended(command(stage, given, folder / stage, world, counts), counts, after=after)
        status, said = ended(command(stage, given, folder / stage, world, counts), counts, after=None)
        assert status == 0, said
        drawn[stage] = lines(counts)
        given = str(folder / stage)
    return drawn


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


RECIPE = """
model = "model"
[[phases]]
name = "policy"
[phases.source]
path = "prompts.jsonl"
[phases.seed]
engine = "{engine}"
sampling.temperature = 0
sampling.max_tokens = 48
[phases.improve]
engine = "{engine}"
role = "improve"
sampling.temperature = 0
sampling.max_tokens = 64
"""


def made(root: Path) -> tuple[Dataset, Dataset]:
    return open_dataset(root / "x/policy-1/responses"), open_dataset(root / "x/policy-1/improved")


@pytest.fixture(scope="module")
def apart(world: Path) -> tuple[Dataset, Dataset]:
    """What transformers make of the recipe, the second stage after the first."""
    path = world / "x.toml"
    path.write_text(RECIPE.format(engine="transformers"))
    one_after_the_other(path, Execution(root=world / "runs", part_rows=25, progress="none"))
    return made(world / "runs")


@pytest.mark.parametrize(("engine", "copies"), [("transformers", 1), ("transformers", 2), ("vllm", 1)])
def test_a_run_that_was_stopped_and_killed_ends_as_one_stage_after_the_other(
    engine: str, copies: int, world: Path, apart: tuple[Dataset, Dataset], tmp_path: Path
) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    (tmp_path / "x.toml").write_text(RECIPE.format(engine=engine))
    for name in ("model", "prompts.jsonl"):
        (tmp_path / name).symlink_to(world / name)
    counts = tmp_path / "drawn"
    how = ["--window", str(WINDOW), "--part-rows", "25", "--batch-tokens", "2000", "--data-parallel", str(copies)]
    command = counted(counts, "run", str(tmp_path / "x.toml"), *how, "--root", str(tmp_path / "runs"), "--progress", "none")
    status, said = ended(command, counts, after=70, by=signal.SIGINT)
    assert status == 130, said
    assert said.splitlines()[-1] == "stopped; the same command goes on from here"
    assert "Traceback" not in said
    begun = [path.name.partition("@")[0] for path in (tmp_path / "runs/store").iterdir() if any((path / ".unfinished").glob("part-*.jsonl"))]
    assert sorted(begun) == ["improved", "responses"]
    status, _ = ended(command, counts, after=60, by=signal.SIGKILL)
    assert status == -signal.SIGKILL
    status, said = ended(command, counts, after=None)
    assert status == 0, said
    for ours, theirs in zip(made(tmp_path / "runs"), apart, strict=True):
        assert faults(ours) == []
        rows = ours.scan().collect()
        assert rows.select("prompt_id", "sample").is_unique().all()
        assert_equal(rows, theirs.scan().collect())
        if engine == "transformers":
            assert ours.manifest.fingerprint == theirs.manifest.fingerprint
    needed = rows.height + rows.filter(pl.col("finish") == "stop").height
    assert needed < lines(counts) <= needed + 2 * WINDOW
