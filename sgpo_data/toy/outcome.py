"""What a run of the loop came to in the toy world: grades before and after, as a table."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

from rich.console import Console
from rich.table import Table

from sgpo_data.execution import Execution
from sgpo_data.loop.folder import FROZEN, RecipeFolder
from sgpo_data.recipe.file import read_recipe
from sgpo_data.recipe.recipe import Recipe
from sgpo_data.rows import Message
from sgpo_data.running.runner import run
from sgpo_data.sources.options import Source
from sgpo_data.stages.seed import Seed
from sgpo_data.store.dataset import Dataset, open_dataset
from sgpo_data.toy.grade import grade

HELD_OUT_ROWS = 400
NEXT = """
sgpo sql --run {run} "SELECT phase, round, coalesce(dropped_by, 'kept') AS outcome, count(*) AS rows FROM filtered GROUP BY ALL ORDER BY ALL"
sgpo inspect {phase}/filtered
sgpo health {run}               # what goes wrong in such loops, in numbers
sgpo report {run} -o report.html
sgpo run {recipe} --dry-run     # after a change of ppl.k: what would be made anew
"""


@dataclass(frozen=True)
class Grades:
    """Mean grade of some answers, with its standard error."""

    mean: float
    error: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.error:.3f}"


@dataclass(frozen=True)
class RoundOutcome:
    """What one round of a phase made."""

    place: str
    """`<phase>-<round>`; `start` for the model the recipe names."""
    policy: Grades | None
    """Of the answers of the model that came out, to prompts that were held out."""
    drafts: Grades | None
    improved: Grades | None
    kept: Mapping[str, int]
    """Rows by the rule that drops them."""
    trained_on: int
    pairs: tuple[float, float] | None
    """Shares of the pairs whose chosen really has the higher grade, and the lower."""


def show(root: Path, name: str, recipe: Path) -> None:
    """Prints the outcome of the last run of a recipe, and what to try next.

    Grades the held-out prompts of the recipe's first source with every model the run made; answers are kept in the store like any dataset.
    """
    found = list(outcomes(root, name))
    console = Console(width=120, highlight=False)
    console.print(_grades_table(found))
    console.print(_rules_table([each for each in found if each.kept]))
    last = next((each.place for each in reversed(found) if each.kept), "")
    activate = "" if shutil.which("sgpo") else f" (. {os.path.relpath(Path(sys.executable).with_name('activate'))} puts sgpo on your path)"
    console.print(f"try next{activate}:" + NEXT.format(run=name, phase=root / name / last, recipe=recipe), end="", markup=False, soft_wrap=True)


def _grades_table(found: Sequence[RoundOutcome]) -> Table:
    columns = ("after", "policy, held-out", "drafts", "improved", "kept", "trained on", "pairs better", "worse")
    table = Table(title="grades: share of constraints met, from 0 to 1, with standard error")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for each in found:
        kept = f"{each.kept.get('kept', 0)} of {sum(each.kept.values())}" if each.kept else None
        shares = [None if each.pairs is None else f"{share:.0%}" for share in (each.pairs or (0.0, 0.0))]
        cells = (each.policy, each.drafts, each.improved, kept, each.trained_on or None, *shares)
        table.add_row(each.place, *("" if cell is None else str(cell) for cell in cells))
    return table


def _rules_table(found: Sequence[RoundOutcome]) -> Table:
    table = Table("dropped by", *(each.place for each in found), title="rows by rule")
    for rule in dict.fromkeys(rule for each in found for rule in each.kept):
        table.add_row(rule, *(str(each.kept.get(rule, 0)) for each in found))
    return table


def outcomes(root: Path, name: str) -> Iterator[RoundOutcome]:
    """The start, then every round of every phase in order."""
    folder = root / name
    recipe = read_recipe(folder / FROZEN)
    yield RoundOutcome("start", _policy(recipe, Path(recipe.located(recipe.model)), root), None, None, {}, 0, None)
    for place, uses in groupby(RecipeFolder(folder).uses(), key=lambda use: f"{use.phase}-{use.round}"):
        tables = {use.link.rpartition("/")[2]: folder / use.link for use in uses}
        yield _outcome(place, tables, recipe, root)


def _outcome(place: str, links: Mapping[str, Path], recipe: Recipe, root: Path) -> RoundOutcome:
    made = {table: open_dataset(link) for table, link in links.items() if table != "model"}
    filtered = made.get("filtered")
    trained_on = made.get("pairs") or made.get("examples")
    return RoundOutcome(
        place=place,
        policy=_policy(recipe, links["model"], root) if "model" in links else None,
        drafts=_of_column(filtered, "response") if filtered else None,
        improved=_of_column(filtered, "improved") if filtered else None,
        kept=filtered.manifest.outcomes if filtered else {},
        trained_on=trained_on.manifest.rows if trained_on else 0,
        pairs=_better_and_worse(made["pairs"]) if "pairs" in made else None,
    )


def _policy(recipe: Recipe, model: Path, root: Path) -> Grades:
    source = recipe.phases[0].source
    assert source is not None
    held_out = Source(held_out=source.held_out, take="held_out", limit=HELD_OUT_ROWS)
    sampling = next(phase.seed.sampling for phase in recipe.phases if phase.seed is not None)
    answered = run(Seed(sampling=sampling), recipe.located(source.path), model=str(model.resolve()), source=held_out, execution=Execution(root=root))
    return _of_column(answered, "response")


def _of_column(dataset: Dataset, column: str) -> Grades:
    rows = dataset.scan().select("messages", column).drop_nulls().collect().iter_rows()
    return _grades([grade(messages, answer) for messages, answer in rows])


def _better_and_worse(pairs: Dataset) -> tuple[float, float]:
    def of(messages: list[Message], answer: list[Message]) -> float:
        return grade(messages, answer[0]["content"])

    rows = pairs.scan().select("prompt", "chosen", "rejected").collect().iter_rows()
    steps = [of(prompt, chosen) - of(prompt, rejected) for prompt, chosen, rejected in rows]
    return fmean(step > 0 for step in steps), fmean(step < 0 for step in steps)


def _grades(found: Sequence[float]) -> Grades:
    error = stdev(found) / sqrt(len(found)) if len(found) > 1 else 0.0
    return Grades(fmean(found) if found else 0.0, error)
