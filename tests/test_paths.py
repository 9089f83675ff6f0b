"""Claims about the path that was meant where one leads to nothing."""

from pathlib import Path

import pytest

from sgpo_data.paths import missing_path, nearby

FILES = ("prompts.jsonl", "models/base/config.json", "models/bases.txt", "runs/mine/policy-1/pairs/manifest.json")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("mistyped", "told"),
    [
        ("promts.jsonl", "did you mean prompts.jsonl?"),
        ("models/bsae", "did you mean models/base?"),
        ("run/mine/policy-1/pairs", "did you mean runs/mine/policy-1/pairs?"),
        ("runs/mine/policy1/pairs", "did you mean runs/mine/policy-1/pairs?"),
        ("runs/mine/policy1/gone", ""),
        ("elsewhere.csv", ""),
        ("/nowhere/at/all", ""),
        ("prompts.jsonl/inside", ""),
    ],
)
def test_of_a_path_with_one_name_mistyped_the_one_that_was_meant_is_told(folder: Path, mistyped: str, told: str) -> None:
    assert nearby(Path(mistyped)) == told


def test_only_what_is_of_the_kind_that_is_looked_for_is_told(folder: Path) -> None:
    assert nearby(Path("models/bases"), Path.is_dir) == "did you mean models/base?"
    assert nearby(Path("promts.jsonl"), Path.is_dir) == ""


def test_a_place_is_told_as_it_was_written(folder: Path) -> None:
    assert missing_path(folder / "prompt.jsonl") == f"no such file or folder: {folder}/prompt.jsonl; did you mean {folder}/prompts.jsonl?"
    assert missing_path(Path("x")) == "no such file or folder: x"
