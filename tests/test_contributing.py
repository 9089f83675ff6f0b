"""docs/contributing.md holds to the code: its files are there, and they are as many as it says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/contributing.md").read_text(encoding="utf-8")
MOST = {"A stage": 4, "A training objective": 4, "A strategy of filter": 2, "A shape of raw rows": 1, "A chart of the report": 1}
FILE = r"`((?:sgpo_data|schemas)/[\w/<>]+\.\w+)`"


def test_every_file_that_is_named_is_there() -> None:
    named = {name for name in re.findall(FILE, TEXT) if "<" not in name}
    assert len(named) > 15
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("kind", MOST)
def test_a_table_has_as_many_files_as_the_goal_allows(kind: str) -> None:
    section = TEXT.split(f"### {kind}\n")[1].split("\n### ")[0]
    assert len(re.findall(rf"^\| {FILE} \|", section, flags=re.MULTILINE)) == MOST[kind]


@pytest.mark.parametrize("name", ["STAGES", "WIDENED", "OBJECTIVES", "STRATEGIES", "FIXED", "ShapeName", "SHAPES", "ABOUT"])
def test_a_name_that_is_to_be_extended_stands_in_a_file_beside_it(name: str) -> None:
    (line, *_) = [line for line in TEXT.splitlines() if f"`{name}`" in line]
    files = re.findall(FILE, line) or re.findall(FILE, TEXT)
    assert any(re.search(rf"^{name}\b.*=", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE) for file in files if "<" not in file)
