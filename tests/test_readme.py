"""The README tells the truth: its commands run, its output is what comes out, its tree is the tree."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_answers import OWNER
from hub_server import hub_server

from sgpo_data.recipe.file import parsed

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "COLUMNS": "120"}
    return subprocess.run(["bash", "-euc", script], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the README's shell blocks have been run, in their order, by somebody with a login to a Hub; `make` is what runs this test."""
    folder = tmp_path_factory.mktemp("reader")
    with hub_server(tmp_path_factory.mktemp("hub")) as hub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_TOKEN", OWNER)
        for block in blocks("sh"):
            if not block.startswith(("make", "pip")):
                finished = shell(block, folder)
                assert finished.returncode == 0, f"{block}\n{finished.stderr}"
        yield folder


def without_numbers(text: str) -> list[str]:
    """Lines with every number as #, and spaces and rules of a table folded: numbers may differ in their last digits between processors."""
    return [re.sub(r"[─ ]+", " ", re.sub(r"[0-9][0-9.,]*", "#", line)).strip() for line in text.strip().splitlines()]


@pytest.mark.parametrize("block", blocks("console"))
def test_every_console_block_shows_what_comes_out(block: str, folder: Path) -> None:
    command, _, expected = block.removeprefix("$ ").partition("\n")
    finished = shell(command, folder)
    assert finished.returncode == 0, finished.stderr
    assert without_numbers(finished.stdout) == without_numbers(expected)


@pytest.mark.parametrize("block", blocks("python"))
def test_every_python_block_runs(block: str, folder: Path) -> None:
    finished = subprocess.run([sys.executable, "-c", block], cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("block", blocks("toml"))
def test_the_recipe_that_is_explained_is_a_recipe(block: str) -> None:
    # The sources of a phase are shown by themselves.
    whole = block if block.startswith("model") else f'model = "m"\n[[phases]]\nname = "policy"\n{block}\n[phases.seed]\n'
    assert [phase.name for phase in parsed(whole, ROOT / "recipes" / "readme.toml").phases] == ["policy"]


def test_the_tree_is_the_tree_with_the_first_words_of_each_wing() -> None:
    """The README's last block lists every wing and every file of the ground, each with the clause that its own docstring begins with."""
    (tree,) = blocks("text")
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
