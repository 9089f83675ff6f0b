"""The notebook of docs/ tells the truth: its cells run, and show what is kept with them."""

import re
from pathlib import Path
from types import ModuleType

import pytest
from test_pages import module


@pytest.fixture(scope="module")
def notebook() -> ModuleType:
    return module("notebook")


def masked(text: str) -> list[str]:
    """Lines with digests and numbers as #: they may differ in their last digits between processors; so may the width of a column."""
    return [re.sub(r"[─═ ┌┐└┘┬┴╞╡╪]+", " ", re.sub(r"[0-9a-f]{8,}|-?[0-9][0-9.,e-]*", "#", line)).strip() for line in text.splitlines()]


def test_the_cells_show_what_is_kept_with_them(notebook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = notebook.read_cells()
    shown = [masked(output.data["text/plain"]) for cell in notebook.run_cells(cells) for output in cell.outputs or ()]
    assert shown == [masked(output.data["text/plain"]) for cell in cells for output in cell.outputs or ()]
    assert len(shown) >= 8


def test_the_page_holds_each_cell_and_runs_nothing(notebook: ModuleType) -> None:
    page = notebook.notebook_page()
    assert [cell.source for cell in notebook.read_cells() if cell.source not in page] == []
    assert "<script" not in page
    assert "<table>" in page
