"""A recipe's folder in the root: who runs it, what it uses, and what it used before."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from sgpo_data.errors import DatasetError
from sgpo_data.store.files import disk_error, write_text
from sgpo_data.store.lock import held

FROZEN = "recipe.toml"
STEPS = "steps.json"
LOCK = ".lock"
HOLDER = ".holder.json"


class Use(BaseModel):
    """A step of the recipe as it was last run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: str
    round: int
    stage: str
    link: str
    """Relative to the folder of the recipe."""
    name: str
    """Of its folder in the store, where it may still have to be made."""


_USES = TypeAdapter(tuple[Use, ...])


@dataclass(frozen=True)
class RecipeFolder:
    """`<root>/<recipe>`: relative links into the store, the frozen recipe, and the steps of the last run."""

    folder: Path

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """The folder for this process alone.

        Raises DatasetError if another process runs the recipe, or if the folder cannot be written.
        """
        with held(self.folder, self.folder / LOCK, self.folder / HOLDER):
            yield

    def uses(self) -> tuple[Use, ...]:
        """The steps of the last run, none before the first.

        Raises DatasetError if they cannot be read.
        """
        path = self.folder / STEPS
        if not path.is_file():
            return ()
        try:
            return _USES.validate_json(path.read_bytes())
        except ValidationError as error:
            raise DatasetError(f"{path}: not the steps of a run of this version; remove it, and run the recipe again") from error

    def begin(self, text: str, uses: Sequence[Use], store: Path) -> None:
        """Records what the recipe uses from now on: removes links it no longer uses, writes the frozen recipe and the steps."""
        wanted = {self.folder / use.link: store / use.name for use in uses}
        for link in _links(self.folder):
            if link not in wanted or link.resolve() != wanted[link].resolve():
                link.unlink()
        for place in sorted(self.folder.iterdir()):
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()
        write_text(self.folder / FROZEN, text)
        write_text(self.folder / STEPS, _USES.dump_json(tuple(uses), indent=2).decode() + "\n")


def link(place: Path, made: Path) -> None:
    """Makes this place a link to what was made; a link that is there is replaced at once."""
    target = os.path.relpath(made.absolute(), place.parent.absolute())
    if place.is_symlink() and os.readlink(place) == target:
        return
    aside = place.with_name(f".{place.name}.linking")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)
        aside.symlink_to(target)
        aside.replace(place)
    except OSError as error:
        raise disk_error(place, error) from error


def recipe_folders(root: Path) -> list[RecipeFolder]:
    """All recipes that were run in this root."""
    if not root.is_dir():
        return []
    return [RecipeFolder(place) for place in sorted(root.iterdir()) if place.is_dir() and (place / FROZEN).is_file()]


def used_names(root: Path) -> set[str]:
    """Names of all folders of the store that a recipe uses, as its links or its last run say."""
    found: set[str] = set()
    for recipe in recipe_folders(root):
        found |= {use.name for use in recipe.uses()}
        found |= {place.resolve().name for place in _links(recipe.folder)}
    return found


def _links(folder: Path) -> list[Path]:
    return [place for place in sorted(folder.glob("*/*")) if place.is_symlink()] if folder.is_dir() else []
