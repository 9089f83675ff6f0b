"""What is in a dataset, as functions: `scan`, `sql`, `manifest` and `lint`."""

from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from sgpo_data.analysis.options import LintThresholds
from sgpo_data.errors import UsageError
from sgpo_data.execution import ROOT, Execution
from sgpo_data.notebook.frames import Data, reference_of
from sgpo_data.notebook.keywords import takes, validated
from sgpo_data.notebook.options import LintOptions, SourceOptions
from sgpo_data.sources.options import Source
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.manifest import Manifest

if TYPE_CHECKING:
    import duckdb
    import polars as pl

Place = str | PathLike[str]
Reference = Place | Dataset
"""A folder, a folder of the root, or a place on the Hub or in a bucket; or what a function gave."""


def scan(reference: Reference, *, root: Place | None = None) -> "pl.LazyFrame":
    """All rows of a dataset, lazily, in order.

    Without `root` it is where the command line puts what it makes.
    Raises DatasetError if there is no such dataset, or if it was never finished.
    """
    return _existing(reference, root).scan()


def manifest(reference: Reference, *, root: Place | None = None) -> Manifest:
    """What was recorded when a dataset was finished: stage, fields, inputs, models, counts and cost.

    Raises DatasetError as `scan` does.
    """
    return _existing(reference, root).manifest


def sql(query: str, *references: Reference, run: str | Sequence[str] = (), root: Place | None = None, **views: Data) -> "duckdb.DuckDBPyRelation":
    """What one SELECT gives over datasets, lazily; `.pl()`, `.fetchall()` and `.to_arrow_reader()` take it on.

    A reference is a view named by its table, or a Parquet, CSV or JSON file named by it; `name=data` names it otherwise, and takes tables in memory too.
    `run` adds the tables of a run, or of several. `sgpo_data.query.catalog.catalog` tells more.
    The relation is read-only: it cannot write files or read others.
    Raises DatasetError if a dataset is missing, UsageError if two have one name, QueryError if the query is no SELECT or cannot be planned.
    """
    from sgpo_data.query.catalog import catalog
    from sgpo_data.query.sandbox import selected

    place = _root(root)
    named = [f"{name}={reference_of(data, place)}" for name, data in views.items()]
    runs = (run,) if isinstance(run, str) else run
    return selected(catalog([*(_plain(reference) for reference in references), *named], runs=runs, root=place).connect(), query)


@takes(LintThresholds)
def lint(data: Data, *, root: Place | None = None, source: SourceOptions | None = None, **thresholds: Unpack[LintOptions]) -> "pl.DataFrame":
    """Checks of pairs or examples, or of raw preferences: a row per check with its value, threshold and verdict (ok, warn or failed), and an example.

    Nothing is raised for a check that fails: the verdict says it.
    """
    import polars as pl

    from sgpo_data.running.linting import lint_reference

    execution = Execution(root=_root(root))
    bounds, how = validated(LintThresholds, thresholds, place="lint"), validated(Source, source or {}, place="lint: source")
    found = lint_reference(reference_of(data, execution.root), bounds, how, execution)
    return pl.DataFrame([asdict(finding) for finding in found.findings], infer_schema_length=None)


def _existing(reference: Reference, root: Place | None) -> Dataset:
    from sgpo_data.references.dataset import existing

    return existing(_plain(reference), _root(root))


def _plain(reference: Reference) -> str:
    """What names it; a table in memory has no name."""
    if not isinstance(reference, str | PathLike | Dataset):
        raise UsageError(f"{type(reference).__name__}: has no name; give a table in memory as name=table to sql, or to a stage")
    return reference_of(reference, ROOT)


def _root(given: Place | None) -> Path:
    return ROOT if given is None else Path(given)
