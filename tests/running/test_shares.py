"""Claims about a dataset that several processes make: it is the one that a single process makes, whoever is killed."""

import json
import os
import random
import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest
from fake_model import FakeModel, model_folder, opens
from killing import assert_equal, counted, ended, lines
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.errors import DatasetError, UsageError
from sgpo_data.execution import Execution
from sgpo_data.running.engines import Engines
from sgpo_data.running.rowwise import RowJob
from sgpo_data.running.runner import job_of, run
from sgpo_data.stages.seed import Seed
from sgpo_data.store.dataset import Dataset, faults, open_dataset
from sgpo_data.store.resume import finish_shares
from sgpo_data.store.share import PartRange
from sgpo_data.store.shares import refuse_live_shares
from sgpo_data.toy.__main__ import prompts
from sgpo_data.toy.model import base_model

ROWS, PART_ROWS = 23, 4


@pytest.fixture
def place(tmp_path: Path) -> Path:
    model_folder(tmp_path / "model")
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"Say {i} and no more."}) + "\n" for i in range(ROWS)))
    return tmp_path


def how(place: Path, root: str = "runs") -> Execution:
    return Execution(root=place / root, part_rows=PART_ROWS, progress="none")


def share(parts: str, place: Path, model: FakeModel, out: str = "shared") -> Dataset | None:
    job = job_of(Seed(), str(place / "prompts.jsonl"), model=str(place / "model"), adapter=None, source=None, execution=how(place))
    assert isinstance(job, RowJob)
    with closing(Engines(how(place), open_model=opens(model))) as engines:
        return job.make_share(PartRange.parsed(parts), place / out, how(place), engines)


def whole(place: Path, out: str, model: FakeModel) -> Dataset:
    return run(Seed(), str(place / "prompts.jsonl"), model=str(place / "model"), execution=how(place), out=place / out, open_model=opens(model))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


@pytest.mark.parametrize("count", [1, 2, 5, 6, 9])
def test_shares_in_any_order_make_the_dataset_of_one_process(place: Path, count: int) -> None:
    alone = whole(place, "alone", FakeModel())
    order = random.Random(count).sample(range(1, count + 1), count)
    models = [FakeModel() for _ in order]
    made = [share(f"{index}/{count}", place, model) for index, model in zip(order, models, strict=True)]
    (*before, last) = made
    # A share without a part of its own is made at once, and the last share with one finishes the dataset.
    first_whole = next(place for place, each in enumerate(made) if each is not None)
    assert all(each is None for each in before[:first_whole])
    assert last is not None
    assert faults(last) == []
    assert contents(last.folder) == contents(alone.folder)
    assert last.manifest.fingerprint == alone.manifest.fingerprint
    assert (last.manifest.rows, last.manifest.rows_in, last.manifest.outcomes) == (ROWS, ROWS, {"stop": ROWS})
    assert last.manifest.tokens == alone.manifest.tokens > 0
    assert sorted(key for model in models for key in model.asked) == sorted({key for model in models for key in model.asked})
    assert not (last.folder / ".unfinished").exists()


def test_a_share_that_failed_goes_on_with_the_rows_that_are_missing(place: Path) -> None:
    failing = FakeModel(fail_after=6, window=2)
    with pytest.raises(ConnectionAbortedError):
        share("1/2", place, failing)
    rest = FakeModel()
    assert share("1/2", place, rest) is None
    assert len(rest.asked) == 12 - 6
    other = FakeModel()
    dataset = share("2/2", place, other)
    assert dataset is not None
    assert len(other.asked) == 11
    assert dataset.manifest.tokens == whole(place, "alone", FakeModel()).manifest.tokens


def test_what_shares_left_is_taken_up_by_one_process_and_by_other_shares(place: Path) -> None:
    with pytest.raises(ConnectionAbortedError):
        share("2/3", place, FakeModel(fail_after=6, window=2))
    rest = FakeModel()
    assert share("1/2", place, rest) is None
    assert len(rest.asked) == 12 - 2, "of the open part 4, which is of both shares, two rows were there"
    with pytest.raises(ConnectionAbortedError):
        share("2/2", place, FakeModel(fail_after=1, window=1))
    last = FakeModel()
    dataset = whole(place, "shared", last)
    assert len(last.asked) == ROWS - 6 - 10 - 1
    assert faults(dataset) == []
    alone = whole(place, "alone", FakeModel())
    assert contents(dataset.folder) == contents(alone.folder)
    assert dataset.manifest.tokens == alone.manifest.tokens


def test_parts_that_are_missing_are_named_with_their_share(place: Path) -> None:
    share("2/3", place, FakeModel())
    with pytest.raises(
        DatasetError, match=r"4 of 6 parts are not whole \(0, 2, 3, 5\); make them with the same command and --part-range 1/3, then: sgpo finish"
    ):
        finish_shares(place / "shared")
    share("1/3", place, FakeModel())
    (place / "shared/part-00004.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match=r"3 of 6 parts are not whole \(2, 4, 5\).*--part-range 3/3"):
        finish_shares(place / "shared")
    share("3/3", place, FakeModel())
    assert share("2/3", place, FakeModel()) is not None


def test_finish_does_it_where_the_last_share_could_not(place: Path) -> None:
    share("1/2", place, FakeModel())
    job = job_of(Seed(), str(place / "prompts.jsonl"), model=str(place / "model"), adapter=None, source=None, execution=how(place))
    # A process that dies between its last row and the manifest leaves whole parts and no more.
    assert isinstance(job, RowJob)
    with pytest.MonkeyPatch.context() as patch, closing(Engines(how(place), open_model=opens(FakeModel()))) as engines:
        patch.setattr("sgpo_data.running.rowwise.last_in", lambda folder: None)
        job.make_share(PartRange.parsed("2/2"), place / "shared", how(place), engines)
    result = CliRunner().invoke(app, ["finish", str(place / "shared")])
    assert (result.exit_code, result.stdout) == (0, f"{place / 'shared'}\n")
    assert faults(open_dataset(place / "shared")) == []
    assert CliRunner().invoke(app, ["finish", str(place / "shared")]).stdout == f"{place / 'shared'}\n"
    (place / "empty").mkdir()
    result = CliRunner().invoke(app, ["finish", str(place / "empty")])
    assert result.exit_code == 1
    assert "was not begun with --part-range" in result.stderr


def test_nobody_else_makes_what_a_share_is_making(place: Path) -> None:
    begun, told = threading.Event(), threading.Event()

    class Waiting(FakeModel):
        def _count(self) -> None:
            begun.set()
            assert told.wait(60)
            super()._count()

    made: list[Dataset | None] = []
    thread = threading.Thread(target=lambda: made.append(share("1/2", place, Waiting())))
    thread.start()
    assert begun.wait(60)
    try:
        for parts in ("1/2", "1/3"):
            with pytest.raises(DatasetError, match=rf"is being made by process {os.getpid()}"):
                share(parts, place, FakeModel())
        with pytest.raises(DatasetError, match=rf"is being made by process {os.getpid()}"):
            whole(place, "shared", FakeModel())
        with pytest.raises(DatasetError, match="is being made"):
            refuse_live_shares(place / "shared")
        assert share("2/2", place, FakeModel()) is None
    finally:
        told.set()
        thread.join()
    (dataset,) = made
    assert dataset is not None
    assert contents(dataset.folder) == contents(whole(place, "alone", FakeModel()).folder)


@pytest.mark.parametrize("text", ["", "0/4", "5/4", "1", "1/0", "a/b", "-1/2", "1/2/3"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no I/N with I from 1 to N"):
        PartRange.parsed(text)


def test_shares_that_are_killed_and_begun_again_lose_nothing_and_make_nothing_twice(tmp_path: Path) -> None:
    base_model(tmp_path / "model")
    prompts(60, 5, tmp_path / "prompts.jsonl")
    counts = tmp_path / "drawn"
    window, dice = 8, random.Random(29)

    def command(*more: str) -> list[str]:
        words = ["--model", str(tmp_path / "model"), "--sampling.max_tokens", "32", "--window", str(window), "--part-rows", "7", "--progress", "none"]
        return counted(counts, "seed", str(tmp_path / "prompts.jsonl"), *words, "--root", str(tmp_path / "runs"), *more)

    def made(index: int, kills: int) -> None:
        own = tmp_path / f"drawn-{index}"
        words = ["-o", str(tmp_path / "shared"), "--part-range", f"{index}/3"]
        for after in dice.choices(range(2, 18), k=kills):
            ended([command()[0], str(own), *command(*words)[2:]], own, after=after, by=signal.SIGKILL)
        status, said = ended([command()[0], str(own), *command(*words)[2:]], own, after=None)
        assert status == 0, said

    threads = [threading.Thread(target=made, args=(index, 2)) for index in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status, said = ended(command("-o", str(tmp_path / "alone")), counts, after=None)
    assert status == 0, said
    ours, theirs = open_dataset(tmp_path / "shared"), open_dataset(tmp_path / "alone")
    assert faults(ours) == []
    assert ours.manifest.fingerprint == theirs.manifest.fingerprint
    assert_equal(ours.scan().collect(), theirs.scan().collect())
    drawn = sum(lines(tmp_path / f"drawn-{index}") for index in (1, 2, 3))
    assert 60 <= drawn <= 60 + 6 * window
