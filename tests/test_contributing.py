"""docs/contributing.md holds to the code: its files are there, they are as many as it says, and its tree is the tree."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/contributing.md").read_text(encoding="utf-8")
MOST = {"A stage": 4, "A judge": 5, "A training objective": 4, "A strategy of filter": 2, "A shape of raw rows": 1, "A chart of the report": 1}
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


def test_the_tree_is_the_tree_with_the_first_words_of_each_wing() -> None:
    """The last block lists every wing and every file of the ground, each with the clause that its own docstring begins with."""
    (tree,) = re.findall(r"^```text\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert tree == tree_of(ROOT)


@pytest.mark.parametrize(
    "path", sorted(path for top in ("sgpo_data", "cli") for path in (ROOT / top).rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_file_begins_with_its_clause(path: Path) -> None:
    assert re.fullmatch(r"[A-Za-z].{8,140}", clause(path))


def clause(path: Path) -> str:
    found = re.search(r'^"""(.*?)(?:"""|\n)', path.read_text(encoding="utf-8"))
    return found.group(1).rstrip(".") if found else ""


def tree_of(root: Path) -> str:
    lines = []
    for top in ("sgpo_data", "cli"):
        lines.append(f"{top + '/':24}{clause(root / top / '__init__.py')}")
        if top == "sgpo_data":
            lines += [f"    {path.name:20}{clause(path)}" for path in sorted((root / top).glob("*.py")) if path.name != "__init__.py"]
        for wing in sorted(path.parent for path in (root / top).rglob("__init__.py") if path.parent != root / top):
            depth = len(wing.relative_to(root / top).parts)
            lines.append(f"{'    ' * depth + wing.name + '/':24}{clause(wing / '__init__.py')}")
    return "\n".join(lines) + "\n"
