"""The recipes that come along, written out where somebody can change them and run them."""

import os
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from sgpo_data.errors import RecipeError, nearest
from sgpo_data.paths import local_path

_FOLDER = resources.files("sgpo_data.recipes")
_CLAUSE = re.compile(r"# (.+?)(?:\. |\.?$)", re.MULTILINE)
_PREPARATION = re.compile(r"^#(?: Before it:| {10,}) *(.+)$", re.MULTILINE)
_FLAGS = re.compile(r"^# Run it with: (.+)$", re.MULTILINE)
_ABOVE = '"../'
"""How a recipe that comes along names a file of the folder it is run in; its own folder is `recipes/` there."""


@dataclass(frozen=True)
class ShippedRecipe:
    """A recipe that comes along."""

    name: str
    text: str

    @property
    def clause(self) -> str:
        """What it is, in the first sentence of its first comment."""
        first = _CLAUSE.match(self.text)
        return first.group(1) if first else self.name

    @property
    def preparation(self) -> tuple[str, ...]:
        """The commands that make what it reads, as its comment `Before it:` lists them."""
        head = self.text.partition("\nmodel = ")[0]
        return tuple(_PREPARATION.findall(head))

    @property
    def flags(self) -> str:
        """The flags that it is meant to be run with, as its comment `Run it with:` has them; empty if none."""
        found = _FLAGS.search(self.text)
        return found.group(1) if found else ""

    @property
    def files(self) -> tuple[str, ...]:
        """The files beside it that it reads, which come along too."""
        paths = {str(phase.get("source", {}).get("path", "")) for phase in tomllib.loads(self.text)["phases"]}
        return tuple(sorted(path for path in paths if path and "/" not in path and _FOLDER.joinpath(path).is_file()))


@cache
def shipped_recipes() -> dict[str, ShippedRecipe]:
    """All of them by name, which is that of the file without its ending."""
    found = sorted((each for each in _FOLDER.iterdir() if each.name.endswith(".toml")), key=lambda each: each.name)
    recipes = [ShippedRecipe(each.name.removesuffix(".toml"), each.read_text(encoding="utf-8")) for each in found]
    return {recipe.name: recipe for recipe in recipes}


def shipped_recipe(name: str) -> ShippedRecipe:
    """The one of this name, written with its ending or without.

    Raises RecipeError if there is none.
    """
    recipes = shipped_recipes()
    wanted = name.removesuffix(".toml")
    if wanted not in recipes:
        raise RecipeError(f"{name}: no recipe of this name comes along{nearest(wanted, recipes)}")
    return recipes[wanted]


def write_recipe(recipe: ShippedRecipe, out: Path) -> list[Path]:
    """Writes the recipe, its comments and the files beside it, and returns what was written, the recipe first.

    What it names in the folder it is run in, it names from where it lies. A file that is there and holds the same is left as it is.

    Raises RecipeError if a file is there and holds anything else, or cannot be written.
    """
    out = local_path(out)
    above = os.path.relpath(Path(), out.parent)
    contents = {out: recipe.text.replace(_ABOVE, '"' if above == "." else f'"{above}/').encode()}
    contents |= {out.parent / name: _FOLDER.joinpath(name).read_bytes() for name in recipe.files}
    for path, content in contents.items():
        if path.is_dir() or (path.exists() and path.read_bytes() != content):
            raise RecipeError(f"{path}: is there, and is not what would be written; move it away, or name another file with -o")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            path.write_bytes(content)
    except OSError as error:
        raise RecipeError(f"{out}: cannot be written ({error.strerror or error}); name another file with -o") from error
    return list(contents)
