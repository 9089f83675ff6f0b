"""Claims about the pages that are derived: every command, flag, recipe key and table has its place in them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from sgpo_data.cli.main import app
from typer.main import get_command

from sgpo_data.recipe.shipped import shipped_recipes
from sgpo_data.schema import schema, tables
from sgpo_data.stages.order import STAGES

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return module("pages").derived_pages()  # type: ignore[no-any-return]


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize("command", [name for name, each in get_command(app).commands.items() if not hasattr(each, "commands")])  # type: ignore[attr-defined]
def test_a_command_has_a_page_with_each_of_its_flags(command: str, pages: dict[str, str]) -> None:
    page = pages[f"commands/{command}.md"]
    parameters = get_command(app).commands[command].params  # type: ignore[attr-defined]
    options = [each for each in parameters if each.param_type_name == "option"]
    assert [name for each in options for name in each.opts if (f"`{name}`" in page) == each.hidden] == []
    assert f"(commands/{command}.md)" in pages["commands.md"]


@pytest.mark.parametrize("stage", [stage.stage_name for stage in STAGES])
def test_a_stage_has_its_keys(stage: str, pages: dict[str, str]) -> None:
    assert f"## `[phases.{stage}]`" in pages["keys.md"]


@pytest.mark.parametrize("table", tables())
def test_a_table_has_its_columns(table: str, pages: dict[str, str]) -> None:
    own = schema(table).columns[-1].name
    assert f"\n## {table}\n" in pages["tables.md"]
    assert f"| `{own}` |" in pages["tables.md"]


def test_every_recipe_is_shown_whole(pages: dict[str, str]) -> None:
    assert [name for name, recipe in shipped_recipes().items() if recipe.text.strip() not in pages["shipped.md"]] == []


def test_no_cell_breaks_its_row(pages: dict[str, str]) -> None:
    for name in ("keys.md", "tables.md", *(page for page in pages if page.startswith("commands/"))):
        rows = [line for line in pages[name].splitlines() if line.startswith("|")]
        assert {row.replace("\\|", "").count("|") for row in rows} <= {4}, name
