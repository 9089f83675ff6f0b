"""Claims about the recipes that come along: each says what it is, and is ready to run wherever it is written."""

from pathlib import Path

import pytest

from sgpo_data.errors import RecipeError
from sgpo_data.recipe.file import read_recipe
from sgpo_data.recipe.shipped import shipped_recipe, shipped_recipes, write_recipe

FOLDER = Path(__file__).parent.parent.parent / "recipes"


def test_every_recipe_of_the_repository_comes_along() -> None:
    assert {name: recipe.text for name, recipe in shipped_recipes().items()} == {path.stem: path.read_text() for path in FOLDER.glob("*.toml")}


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_recipe_says_what_it_is_in_its_first_sentence(name: str) -> None:
    recipe = shipped_recipe(name)
    assert recipe.text.startswith(f"# {recipe.clause}")
    assert 5 < len(recipe.clause) <= 140


@pytest.mark.parametrize("name", shipped_recipes())
@pytest.mark.parametrize("place", ["recipes/x.toml", "x.toml", "a/b/x.toml"])
def test_a_recipe_reads_the_same_files_wherever_it_is_written(name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe, *beside = write_recipe(shipped_recipe(name), Path(place))
    assert [path.read_bytes() for path in beside] == [(FOLDER / path.name).read_bytes() for path in beside]
    written, here = read_recipe(recipe), read_recipe(FOLDER / f"{name}.toml")
    for one, other in [
        (written.model, here.model),
        *((a.source.path, b.source.path) for a, b in zip(written.phases, here.phases, strict=True) if a.source and b.source),
    ]:
        if other.startswith("../"):
            assert Path(written.located(one)).resolve() == tmp_path / other.removeprefix("../")
        else:
            assert one == other


def test_a_recipe_names_the_commands_that_make_what_it_reads() -> None:
    assert shipped_recipe("quickstart").preparation == (
        "python -m sgpo_data.toy model runs/toy/model",
        "python -m sgpo_data.toy prompts -n 5000 -o runs/toy/prompts.jsonl",
    )
    assert shipped_recipe("sgpo").preparation == ()


def test_a_recipe_that_somebody_has_changed_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    for _ in range(2):
        write_recipe(shipped_recipe("sft"), path)
    path.write_text("changed")
    with pytest.raises(RecipeError, match=r"mine.toml: is there, and is not what would be written; move it away, or name another file with -o"):
        write_recipe(shipped_recipe("sft"), path)
    assert path.read_text() == "changed"


def test_a_name_that_no_recipe_has_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="sgop: no recipe of this name comes along; did you mean sgpo"):
        shipped_recipe("sgop")
