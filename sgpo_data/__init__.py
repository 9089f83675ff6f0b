"""Make, inspect, publish and train on preference data that your own model generated."""

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb
    import polars as pl

    from sgpo_data.execution import Execution
    from sgpo_data.loop.loop import Confirm, StepResult

__all__ = ["run", "scan", "sql"]

Reference = str | PathLike[str]
"""A folder, or a folder of the root."""


def scan(reference: Reference, *, root: Reference | None = None) -> "pl.LazyFrame":
    """All rows of a dataset, lazily, in order.

    Without `root` it is where the command line puts what it makes.
    Raises DatasetError if there is no such dataset, or if it was never finished.
    """
    from sgpo_data.references.dataset import existing

    return existing(fspath(reference), _root(root)).scan()


def sql(query: str, *references: Reference, run: str | Sequence[str] = (), root: Reference | None = None) -> "duckdb.DuckDBPyRelation":
    """What one SELECT gives over datasets, lazily; `.pl()`, `.fetchall()` and `.to_arrow_reader()` take it on.

    A reference is a view named by its table, or as `name=reference` says, or a Parquet, CSV or JSON file; `run` adds the tables of a run, or of
    several. `sgpo_data.query.catalog.catalog` tells more.
    The relation is read-only: it cannot write files or read others.
    Raises DatasetError if a dataset is missing, UsageError if two have one name, RecipeError if the query is no SELECT or cannot be planned.
    """
    from sgpo_data.query.catalog import catalog
    from sgpo_data.query.sandbox import selected

    runs = (run,) if isinstance(run, str) else run
    return selected(catalog([fspath(reference) for reference in references], runs=runs, root=_root(root)).connect(), query)


def run(recipe: Reference, execution: "Execution | None" = None, *, confirm: "Confirm | None" = None) -> "list[StepResult]":
    """Everything a recipe makes, made now as far as it is not made already; the same call takes up what a kill has left.

    If what the last run made with a model would be made anew, `confirm` is asked first; without it that is refused.
    Raises RecipeError if the recipe has faults or the change is not confirmed, DatasetError if another process runs it, whatever a stage raises.
    """
    from sgpo_data.loop.loop import run_recipe

    return run_recipe(Path(recipe), execution, confirm=confirm)


def _root(given: Reference | None) -> Path:
    from sgpo_data.execution import ROOT

    return ROOT if given is None else Path(given)
