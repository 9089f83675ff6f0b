"""The rounds of a run in the order of its recipe: what each has made, and what it has still to make."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sgpo_data.errors import DatasetError
from sgpo_data.loop.folder import FROZEN, RecipeFolder
from sgpo_data.references.model import model_manifest
from sgpo_data.references.run import ROLES, STEP, run_folder
from sgpo_data.schema import tables
from sgpo_data.store.dataset import WORK, Dataset, open_dataset
from sgpo_data.store.manifest import MANIFEST, ModelManifest

MODEL = "model"
EVALUATED = (*ROLES, "comparisons", "evaluations", "grades")
"""What its evaluation and its judge made, by the name of the link."""
WIDENED = ("filtered", "scored", "improved", "responses")
"""Tables of a row per prompt and sample, the widest first: each has all columns of those behind it."""


@dataclass(frozen=True)
class RoundModel:
    """A model that a round has trained."""

    folder: Path
    manifest: ModelManifest


@dataclass(frozen=True)
class Round:
    """One round of a phase."""

    phase: str
    number: int
    datasets: Mapping[str, Dataset]
    """What is whole, by table."""
    model: RoundModel | None
    missing: tuple[str, ...]
    """Tables, or `model`, that the last run of the recipe was to make and that are not whole."""

    @property
    def place(self) -> str:
        """What its folder is called."""
        return f"{self.phase}-{self.number}"

    @property
    def answers(self) -> Dataset | None:
        """The widest table there is of its prompts and samples, None if nothing was answered."""
        return next((self.datasets[table] for table in WIDENED if table in self.datasets), None)

    @property
    def widest(self) -> list[Dataset]:
        """Its datasets that no other one has all columns of, the last one made first."""
        narrow = {"prompts", *EVALUATED, *WIDENED}
        answers = self.answers or self.datasets.get("prompts")
        return [*reversed([dataset for table, dataset in self.datasets.items() if table not in narrow]), *([answers] if answers else [])]

    def has(self, table: str) -> bool:
        """Whether the columns of this table are there, in it or in a wider one."""
        if table in WIDENED:
            return any(wider in self.datasets for wider in WIDENED[: WIDENED.index(table) + 1])
        return table in self.datasets


@dataclass(frozen=True)
class Run:
    """A recipe's folder, as it stands."""

    folder: Path
    rounds: tuple[Round, ...]

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.folder.resolve().name


def run_names(root: Path) -> list[str]:
    """The runs of a root by name: what recipes have left their steps in."""
    return sorted(path.parent.name for path in root.glob(f"*/{FROZEN}") if RecipeFolder(path.parent).uses())


def open_run(run: str, root: Path) -> Run:
    """The run of this name in the root, or in this folder.

    Raises DatasetError if there is none, if it has no round, or if something in it cannot be read.
    """
    folder = run_folder(run, root)
    rounds = tuple(_of_recipe(folder)) or tuple(_of_folders(folder))
    if not rounds:
        if (folder / MANIFEST).is_file():
            raise DatasetError(f"{folder}: is no run, but what one command made; look at it with: sgpo inspect {folder}")
        raise DatasetError(f"{folder}: holds no round of a run; make one with: sgpo run RECIPE")
    return Run(folder, rounds)


def _of_recipe(folder: Path) -> Iterator[Round]:
    for (phase, number), uses in groupby(RecipeFolder(folder).uses(), key=lambda use: (use.phase, use.round)):
        yield _round(phase, number, {use.link.rpartition("/")[2]: folder / use.link for use in uses})


def _of_folders(folder: Path) -> list[Round]:
    """The rounds of a folder that no recipe has left its steps in, in the order in which they were made."""
    steps = [(step, place) for place in sorted(folder.iterdir()) if place.is_dir() and (step := STEP.fullmatch(place.name))]
    found = [_round(step["phase"], int(step["round"]), _links(place)) for step, place in steps]
    return sorted((each for each in found if each.datasets or each.model or each.missing), key=_begun)


def _links(place: Path) -> dict[str, Path]:
    return {name: place / name for name in (*tables(), MODEL) if (place / name / MANIFEST).is_file() or (place / name / WORK).is_dir()}


def _begun(made: Round) -> tuple[bool, float, int]:
    times = [dataset.manifest.created.timestamp() for dataset in made.datasets.values()]
    return not times, min(times, default=0.0), made.number


def _round(phase: str, number: int, links: Mapping[str, Path]) -> Round:
    made = {name: link for name, link in links.items() if (link / MANIFEST).is_file()}
    datasets = {name: open_dataset(link) for name, link in made.items() if name != MODEL}
    manifest = model_manifest(made[MODEL]) if MODEL in made else None
    model = None if manifest is None else RoundModel(made[MODEL], manifest)
    return Round(phase, number, datasets, model, tuple(name for name in links if name not in made))
