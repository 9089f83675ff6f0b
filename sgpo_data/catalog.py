"""Which tables a query can see: those of references, of a run, or of the store."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from sgpo_data.dataset import WORK, Dataset, open_dataset
from sgpo_data.errors import DatasetError, UsageError
from sgpo_data.manifest import MANIFEST
from sgpo_data.reference import find_dataset
from sgpo_data.sandbox import quoted, sandbox
from sgpo_data.schema import schema, tables

log = logging.getLogger(__name__)

OWN = ("manifests", "columns")
"""Tables about the datasets, in every catalogue."""
NAMED = re.compile(r"([A-Za-z_]\w*)=(.+)", re.ASCII)
STEP = re.compile(r"(?P<phase>.+)-(?P<round>\d+)")

_MANIFEST_TYPES: dict[str, pa.DataType] = {
    "view": pa.string(),
    "phase": pa.string(),
    "round": pa.int64(),
    "table": pa.string(),
    "fingerprint": pa.string(),
    "stage": pa.string(),
    "rows_in": pa.int64(),
    "rows": pa.int64(),
    "seconds": pa.float64(),
    "tokens": pa.int64(),
    "created": pa.timestamp("us", "UTC"),
    "models": pa.string(),
    "folder": pa.string(),
}
MANIFESTS = pa.schema(_MANIFEST_TYPES)
COLUMNS = pa.schema([pa.field("view", pa.string()), pa.field("column", pa.string()), pa.field("type", pa.string()), pa.field("comment", pa.string())])


@dataclass(frozen=True)
class Visible:
    """A dataset and the name a query knows it by."""

    view: str
    dataset: Dataset
    phase: str | None = None
    round: int | None = None


@dataclass(frozen=True)
class Catalog:
    """The datasets a query can see; view names differ, capitals or not."""

    visible: tuple[Visible, ...]

    @property
    def of_run(self) -> dict[str, list[Visible]]:
        """The datasets of a run by table."""
        found: dict[str, list[Visible]] = {}
        for each in self.visible:
            if each.phase is not None:
                found.setdefault(each.dataset.table, []).append(each)
        return found

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A read-only sandbox with these views, and the tables `manifests` (one row per dataset) and `columns` (one row per column of a view)."""
        datasets = {each.view: each.dataset for each in self.visible}
        return sandbox(datasets, {"manifests": self._manifests(), "columns": self._columns()}, {table: _union(of) for table, of in self.of_run.items()})

    def _manifests(self) -> pa.Table:
        return pa.Table.from_pylist([_manifest_row(each) for each in self.visible], schema=MANIFESTS)

    def _columns(self) -> pa.Table:
        rows = [row for each in self.visible for row in _column_rows(each.view, each.dataset.table)]
        for table in self.of_run:
            rows.append({"view": table, "column": "phase", "type": "VARCHAR", "comment": "Name of the phase."})
            rows.append({"view": table, "column": "round", "type": "INTEGER", "comment": "Round of the phase."})
            rows += _column_rows(table, table)
        return pa.Table.from_pylist(rows, schema=COLUMNS)


def catalog(references: Sequence[str], *, run: str | None, root: Path) -> Catalog:
    """What a query can see.

    A reference is a view named by its table, or as `name=reference` says. A dataset of a run is a view `<phase>_<round>_<table>`; the view `<table>`
    holds the rows of that table in all phases and rounds, with columns `phase` and `round` before its own, so that one query serves a run
    of one round and of ten. Without references and without a run, the newest dataset of each table in the store is a view.

    Raises DatasetError if a dataset or the run is missing, UsageError if two views would have one name.
    """
    if not references and run is None:
        return Catalog(tuple(_of_store(root)))
    of_run = tuple(_of_run(run, root)) if run is not None else ()
    return Catalog(_apart((*of_run, *(_of_reference(given, root) for given in references))))


def existing(reference: str, root: Path) -> Dataset:
    """The dataset a reference names.

    Raises DatasetError if there is none.
    """
    dataset = find_dataset(reference, root)
    if dataset is None:
        raise DatasetError(f"{reference}: no such dataset, here or in {root}; give the folder that a stage printed")
    return dataset


def _of_reference(given: str, root: Path) -> Visible:
    named = NAMED.fullmatch(given)
    if named is None or find_dataset(given, root) is not None:
        dataset = existing(given, root)
        return Visible(dataset.table, dataset)
    name, reference = named.groups()
    return Visible(name, existing(reference, root))


def run_folder(run: str, root: Path) -> Path:
    """The folder of a run, by its name in the root or by its place.

    Raises DatasetError if there is none.
    """
    folder = next((place for place in (root / run, Path(run)) if place.is_dir()), None)
    if folder is None:
        known = sorted(place.name for place in root.iterdir() if place.is_dir() and place.name != "store") if root.is_dir() else []
        raise DatasetError(f"{run}: no such run in {root}; " + (f"there are {', '.join(known)}" if known else "make one with: sgpo run RECIPE"))
    return folder


def _of_run(run: str, root: Path) -> Iterable[Visible]:
    folder = run_folder(run, root)
    steps = [(step, place) for place in folder.iterdir() if place.is_dir() and (step := STEP.fullmatch(place.name))]
    found = [seen for step, place in sorted(steps, key=_step_order) for seen in _of_step(step["phase"], int(step["round"]), place)]
    if not found:
        raise DatasetError(f"{folder}: no finished dataset in it; a run keeps them as <phase>-<round>/<table>")
    return found


def _step_order(step: tuple[re.Match[str], Path]) -> tuple[str, int]:
    return step[0]["phase"], int(step[0]["round"])


def _of_step(phase: str, number: int, folder: Path) -> Iterable[Visible]:
    for place in sorted(folder.iterdir()):
        if place.name not in tables():
            # The model that was trained on them.
            continue
        if (place / MANIFEST).is_file():
            dataset = open_dataset(place)
            yield Visible(re.sub(r"\W", "_", f"{phase}_{number}_{dataset.table}"), dataset, phase, number)
        elif place.is_symlink() or (place / WORK).is_dir():
            log.info("%s: not finished, left out", place)


def _of_store(root: Path) -> Iterable[Visible]:
    store = root / "store"
    finished = [open_dataset(path.parent) for path in sorted(store.glob(f"*@*/{MANIFEST}")) if path.parent.name.partition("@")[0] in tables()]
    if not finished:
        raise DatasetError(f"{store}: no finished dataset; name one as REF, or a run with --run")
    newest = {dataset.table: dataset for dataset in sorted(finished, key=lambda dataset: dataset.manifest.created)}
    counts = Counter(dataset.table for dataset in finished)
    log.info(
        "views of %s: %s",
        store,
        ", ".join(dataset.folder.name + (f" (newest of {counts[table]})" if counts[table] > 1 else "") for table, dataset in newest.items()),
    )
    return [Visible(table, dataset) for table, dataset in newest.items()]


def _apart(visible: tuple[Visible, ...]) -> tuple[Visible, ...]:
    """The same, once no two have one name."""
    taken = {each.dataset.table: "the run" for each in visible if each.phase is not None}
    for each in visible:
        name, place = each.view.lower(), str(each.dataset.folder)
        if name in OWN:
            raise UsageError(f"{each.view}={place}: every query has a table {name} of its own; give another name")
        if name in taken:
            raise UsageError(f"{each.view}: both {taken[name]} and {place} would be this view; name the second one: {name}_2={place}")
        taken[name] = place
    return visible


def _union(of: Sequence[Visible]) -> str:
    return " UNION ALL ".join(f"SELECT '{_escaped(each.phase or '')}' AS phase, {each.round} AS round, * FROM {quoted(each.view)}" for each in of)


def _escaped(text: str) -> str:
    return text.replace("'", "''")


def _manifest_row(each: Visible) -> dict[str, object]:
    manifest = each.dataset.manifest
    models = ", ".join(f"{role}={record.identity}" for role, record in manifest.identity.models.items())
    row = {name: getattr(manifest, name) for name in ("table", "fingerprint", "rows_in", "rows", "seconds", "tokens", "created")}
    own = {"view": each.view, "phase": each.phase, "round": each.round, "stage": manifest.identity.stage, "models": models}
    return {**row, **own, "folder": str(each.dataset.folder)}


def _column_rows(view: str, table: str) -> list[dict[str, str | None]]:
    return [{"view": view, "column": column.name, "type": column.sql_type, "comment": column.comment} for column in schema(table).columns]
