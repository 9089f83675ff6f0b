"""Claims about ls, and about references that come from standard input."""

import json
from pathlib import Path

from literal_rows import pair_row, row
from made import made_dataset
from made_run import made_run, planned
from sgpo_data.cli.main import app
from typer.testing import CliRunner, Result

from sgpo_data.loop.folder import FROZEN


def sgpo(*words: str, given: str = "") -> Result:
    return CliRunner().invoke(app, words, input=given)


def two_runs(root: Path) -> None:
    for name in ("one", "two"):
        made_run(root, {"policy-1": {"responses": [row("a"), row("b")]}}, name=name)
        planned(root / name, ["policy-1/responses", "policy-1/model"])
        (root / name / FROZEN).write_text("")


def test_runs_are_listed_with_what_they_miss(tmp_path: Path) -> None:
    two_runs(tmp_path)
    listed = sgpo("ls", "--root", str(tmp_path))
    assert [line.split() for line in listed.stdout.splitlines()] == [
        ["run", "rounds", "last", "missing"],
        ["one", "1", "policy-1", "policy-1/model"],
        ["two", "1", "policy-1", "policy-1/model"],
    ]


def test_of_one_run_each_dataset_is_a_reference_with_its_rows(tmp_path: Path) -> None:
    two_runs(tmp_path)
    listed = json.loads(sgpo("ls", "two", "--json", "--root", str(tmp_path)).stdout)
    assert listed == [
        {"reference": str(tmp_path / "two/policy-1/responses"), "rows": 2, "state": "whole"},
        {"reference": str(tmp_path / "two/policy-1/model"), "rows": "", "state": "missing"},
    ]


def test_a_root_without_runs_says_how_to_begin(tmp_path: Path) -> None:
    listed = sgpo("ls", "--root", str(tmp_path))
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "no run; sgpo init writes a recipe" in listed.stderr


def test_inspect_and_diff_read_a_reference_from_standard_input(tmp_path: Path) -> None:
    one, other = (str(made_dataset(tmp_path / name, "pairs", [pair_row(name)]).folder) for name in ("a", "b"))
    assert sgpo("inspect", "-", given=f"{one}\n").stdout == sgpo("inspect", one).stdout != ""
    plain = sgpo("diff", one, other).stdout
    assert sgpo("diff", "-", other, given=f"{one}\n").stdout == sgpo("diff", one, "-", given=f"{other}\n").stdout == plain != ""


def test_standard_input_is_one_dataset_only() -> None:
    refused = sgpo("diff", "-", "-", given="a\n")
    assert refused.exit_code == 2
    assert "standard input holds one reference" in refused.stderr
