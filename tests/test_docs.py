"""README and docs/ tell the truth: their commands run, their output is what comes out, their links lead somewhere."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_answers import OWNER
from hub_server import hub_server
from warm import warm_path

from sgpo_data.recipe.file import parsed

ROOT = Path(__file__).parent.parent
NAV = re.findall(r"^ +- .+: ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
PAGES = [ROOT / "README.md", *(path for path in (ROOT / "docs" / name for name in NAV) if path.exists())]
"""As a reader takes them: README, then docs/ in the order of its menu; what the menu has besides is derived when the pages are built."""
MISTAKES = ROOT / "docs/troubleshooting.md"


def blocks(language: str, pages: list[Path] = PAGES) -> list[str]:
    return [block for page in pages for block in re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)]


def test_every_page_is_in_the_menu() -> None:
    assert set((ROOT / "docs").glob("*.md")) == set(PAGES[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) < 250


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": warm_path(folder.with_name("bin")), "COLUMNS": "120"}
    return subprocess.run(["bash", "-euc", script], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the shell blocks of all pages have been run, in their order, by somebody with a login to a Hub; `make` is what runs this test."""
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


@pytest.mark.parametrize("block", blocks("console", [page for page in PAGES if page != MISTAKES]))
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


@pytest.mark.parametrize("block", blocks("console", [MISTAKES]))
def test_every_mistake_ends_in_the_line_that_is_printed(block: str, folder: Path) -> None:
    command, _, expected = block.removeprefix("$ ").partition("\n")
    finished = shell(command, folder)
    assert finished.returncode in (1, 2, 3), finished.stderr
    assert "Traceback" not in finished.stderr
    lines = without_numbers(finished.stderr)
    assert [line for line in without_numbers(expected) if not any(each.startswith(line.removesuffix("...")) for each in lines)] == []


def test_there_are_twenty_mistakes() -> None:
    assert len(blocks("console", [MISTAKES])) >= 20
