"""Claims about an input that is not what was made: nothing is made of it, and one line says so."""

from collections.abc import Callable
from pathlib import Path

import pytest
from literal_rows import pair_row, row
from made import made_dataset
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.errors import DatasetError
from sgpo_data.running.runner import run
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.store.dataset import Dataset, open_dataset
from sgpo_data.toy.model import base_model

TEXT = " ".join(f"word{number}" for number in range(400))


def flipped(content: bytearray) -> bytes:
    content[len(content) // 8] ^= 1
    return bytes(content)


def cut(content: bytearray) -> bytes:
    return bytes(content[: len(content) // 2])


@pytest.fixture(params=[flipped, cut])
def damage(request: pytest.FixtureRequest) -> Callable[[Dataset], Path]:
    def done(dataset: Dataset) -> Path:
        dataset.paths[-1].write_bytes(request.param(bytearray(dataset.paths[-1].read_bytes())))
        return dataset.folder

    return done


@pytest.mark.parametrize(("stage", "table"), [(Filter(), "scored"), (Pair(), "filtered")])
def test_nothing_is_decided_over_rows_that_were_not_made(stage: Filter | Pair, table: str, damage: Callable[[Dataset], Path], tmp_path: Path) -> None:
    folder = damage(made_dataset(tmp_path / table, table, [row(each, improved=f"{TEXT} {each}") for each in "abcd"]))
    with pytest.raises(DatasetError, match=r"part-00001\.parquet: SHA-256 is .*; copy it back") as caught:
        run(stage, str(folder), out=tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 1
    assert not list((tmp_path / "out").glob("part-*"))


def test_rows_of_a_damaged_page_are_not_read(damage: Callable[[Dataset], Path], tmp_path: Path) -> None:
    folder = damage(made_dataset(tmp_path / "scored", "scored", [row(each, messages=[{"role": "user", "content": TEXT}]) for each in "abcd"]))
    with pytest.raises(DatasetError, match="cannot be read"):
        list(open_dataset(folder).rows())


def test_what_if_of_a_part_that_was_cut_is_one_line(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "scored", "scored", [row(each) for each in "abcd"])
    dataset.paths[-1].write_bytes(cut(bytearray(dataset.paths[-1].read_bytes())))
    found = CliRunner().invoke(app, ["filter", str(dataset.folder), "--what-if", "ppl.k=1,2"])
    assert found.exit_code == 1
    assert "cannot be read" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_nothing_is_trained_on_pairs_that_were_not_made(damage: Callable[[Dataset], Path], tmp_path: Path) -> None:
    base_model(tmp_path / "model")
    dataset = made_dataset(tmp_path / "pairs", "pairs", [pair_row(each) for each in "abcd"])
    damage(dataset)
    found = CliRunner().invoke(app, ["train", str(dataset.folder), "--model", str(tmp_path / "model"), "-o", str(tmp_path / "out")])
    assert found.exit_code == 1
    assert "SHA-256 is" in found.stderr.splitlines()[-1]


def test_ctrl_c_where_duckdb_computes_is_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = made_dataset(tmp_path / "scored", "scored", [row(each) for each in "abcd"])

    def interrupted(*_: object) -> None:
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr(Filter, "table", interrupted)
    found = CliRunner().invoke(app, ["filter", str(dataset.folder), "-o", str(tmp_path / "out")])
    assert found.exit_code == 130
    assert found.stderr.splitlines()[-1] == "stopped; the same command goes on from here"
