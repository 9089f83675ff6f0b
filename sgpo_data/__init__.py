"""Make, inspect, publish and train on preference data that your own model generated."""

from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb
    import polars as pl

__all__ = ["scan", "sql"]

Reference = str | PathLike[str]
"""A folder, or a folder of the root."""


def scan(reference: Reference, *, root: Reference | None = None) -> "pl.LazyFrame":
    """All rows of a dataset, lazily, in order.

    Without `root` it is where the command line puts what it makes.
    Raises DatasetError if there is no such dataset, or if it was never finished.
    """
    from sgpo_data.catalog import existing

    return existing(fspath(reference), _root(root)).scan()


def sql(query: str, *references: Reference, run: str | None = None, root: Reference | None = None) -> "duckdb.DuckDBPyRelation":
    """What one SELECT gives over datasets, lazily; `.pl()`, `.df()`, `.fetchall()` and `.to_arrow_reader()` take it on.

    A reference is a view named by its table, or as `name=reference` says; `run` adds the tables of a run. `sgpo_data.catalog.catalog` tells more.
    The relation is read-only: it can not write files or read others.
    Raises DatasetError if a dataset is missing, UsageError if two have one name, RecipeError if the query is no SELECT or can not be planned.
    """
    from sgpo_data.catalog import catalog
    from sgpo_data.sandbox import selected

    return selected(catalog([fspath(reference) for reference in references], run=run, root=_root(root)).connect(), query)


def _root(given: Reference | None) -> Path:
    from sgpo_data.execution import ROOT

    return ROOT if given is None else Path(given)
