"""Which tables a query can see: those of references, of runs, or of the store."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from sgpo_data.buckets.fetch import fetched_files
from sgpo_data.connection import quoted
from sgpo_data.errors import DatasetError, UsageError
from sgpo_data.names import MadeName, bucket_place, hub_place
from sgpo_data.paths import local_path
from sgpo_data.query.sandbox import Tables, sandbox
from sgpo_data.query.text_files import TextFile
from sgpo_data.references.dataset import existing, find_dataset, find_datasets
from sgpo_data.references.run import ROLES, STEP, run_folder
from sgpo_data.schema import schema, tables
from sgpo_data.store.dataset import WORK, Dataset, open_dataset
from sgpo_data.store.guard import NUMBERS, GuardRecord, guard_record
from sgpo_data.store.manifest import MANIFEST
from sgpo_data.store.pointers import pointer_fault

log = logging.getLogger(__name__)

OWN = ("manifests", "columns", "guards")
"""Tables about the datasets and the trainings on them, in every catalogue."""
NAMED = re.compile(r"([A-Za-z_]\w*)=(.+)", re.ASCII)
STEP_COLUMNS = (("run", "VARCHAR", "Name of the run."), ("phase", "VARCHAR", "Name of the phase."), ("round", "INTEGER", "Round of the phase."))
"""What a view over runs has before the columns of its table."""
FILE_FUNCTIONS = {"parquet": "read_parquet", "csv": "read_csv", "tsv": "read_csv", "jsonl": "read_json", "ndjson": "read_json", "json": "read_json"}

_MANIFEST_TYPES: dict[str, pa.DataType] = {
    "view": pa.string(),
    "run": pa.string(),
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


_GUARD_TYPES: dict[str, pa.DataType] = {"run": pa.string(), "phase": pa.string(), "round": pa.int64(), **dict.fromkeys(NUMBERS, pa.float64())}
GUARDS = pa.schema(_GUARD_TYPES)


@dataclass(frozen=True)
class NamedDataset:
    """A dataset and the name a query knows it by."""

    view: str
    dataset: Dataset
    run: str | None = None
    phase: str | None = None
    round: int | None = None
    link: str | None = None
    """What its round calls it: by its table, or by one of ROLES."""


@dataclass(frozen=True)
class VisibleFile:
    """A file that is no dataset of ours, and the name a query knows it by."""

    view: str
    path: Path
    function: str
    """The table function of DuckDB that reads it."""


@dataclass(frozen=True)
class NamedGuard:
    """What a run measured around the training of a round."""

    run: str
    phase: str
    round: int
    record: GuardRecord


@dataclass(frozen=True)
class Catalog:
    """The datasets and files a query can see; view names differ, capitals or not."""

    visible: tuple[NamedDataset, ...]
    files: tuple[VisibleFile, ...] = ()
    guards: tuple[NamedGuard, ...] = ()

    @property
    def of_runs(self) -> dict[str, list[NamedDataset]]:
        """The datasets of runs, by what their rounds call them."""
        found: dict[str, list[NamedDataset]] = {}
        for each in self.visible:
            if each.link is not None:
                found.setdefault(each.link, []).append(each)
        return found

    @property
    def tables(self) -> Tables:
        """These views, and the tables `manifests` (one row per dataset), `columns` (one per column of a view) and `guards` (one per training of a run)."""
        datasets = {each.view: each.dataset for each in self.visible}
        parquet = {name: tuple(dataset.paths) for name, dataset in datasets.items() if dataset.paths}
        parquet |= {each.view: (each.path,) for each in self.files if each.function == "read_parquet"}
        texts = {each.view: TextFile(each.path, each.function) for each in self.files if each.function != "read_parquet"}
        empty = {name: schema(dataset.table).arrow.empty_table() for name, dataset in datasets.items() if not dataset.paths}
        own = {"manifests": self._manifests(), "columns": self._columns(), "guards": self._guards()}
        return Tables(parquet, texts, empty | own, {link: _union(of) for link, of in self.of_runs.items()})

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A read-only sandbox with these views."""
        return sandbox(self.tables)

    def _manifests(self) -> pa.Table:
        return pa.Table.from_pylist([_manifest_row(each) for each in self.visible], schema=MANIFESTS)

    def _guards(self) -> pa.Table:
        rows = [{"run": each.run, "phase": each.phase, "round": each.round, **{name: getattr(each.record, name) for name in NUMBERS}} for each in self.guards]
        return pa.Table.from_pylist(rows, schema=GUARDS)

    def _columns(self) -> pa.Table:
        rows = [row for each in self.visible for row in _column_rows(each.view, each.dataset.table)]
        for link, (first, *_) in self.of_runs.items():
            rows += [{"view": link, "column": name, "type": sql_type, "comment": comment} for name, sql_type, comment in STEP_COLUMNS]
            rows += _column_rows(link, first.dataset.table)
        rows += [{"view": "guards", "column": name, "type": "DOUBLE", "comment": comment} for name, comment in NUMBERS.items()] if self.guards else []
        return pa.Table.from_pylist(rows, schema=COLUMNS)


def catalog(references: Sequence[str], *, runs: Sequence[str] = (), root: Path) -> Catalog:
    """What a query can see.

    A reference is a view named by its table, or as `name=reference` says; a Parquet, CSV or JSON file is one by its name. A dataset of a run is a
    view `<phase>_<round>_<table>`, with `<run>_` before that if there are several runs; the view `<table>` holds the rows of that table in all runs,
    phases and rounds, with columns `run`, `phase` and `round` before its own, so that one query serves a run of one round and ten runs of ten. What a
    round names by its role (`verdicts`) is a view by that name, and not among the rows of its table.
    Without references and without a run, the newest dataset of each table in the store is a view.

    Raises DatasetError if a dataset or a run is missing, UsageError if two views would have one name.
    """
    if not references and not runs:
        return Catalog(tuple(_of_store(root)))
    named = tuple(dict.fromkeys(runs))
    of_runs = [each for run in named for each in _of_run(run, root, several=len(named) > 1)]
    given = [each for reference in references for each in _of_reference(reference, root)]
    datasets = (*of_runs, *(each for each in given if isinstance(each, NamedDataset)))
    files = tuple(each for each in given if isinstance(each, VisibleFile))
    _refuse_one_name_for_two(datasets, files)
    return Catalog(datasets, files, tuple(guard for run in named for guard in _guards_of_run(run, root)))


def _of_reference(given: str, root: Path) -> list[NamedDataset | VisibleFile]:
    """One view; of a version on the Hub as a whole, one for each of its datasets."""
    place = hub_place(given)
    if place is not None and not place.path and (version := find_datasets(given, root)):
        return [NamedDataset(dataset.table, dataset) for dataset in version]
    named = NAMED.fullmatch(given)
    if named is None or find_dataset(given, root) is not None or local_path(given).is_file():
        name, reference = None, given
    else:
        name, reference = named.groups()
    function = file_function(reference)
    if function is not None and (bucket := bucket_place(reference)) is not None:
        reference = str(fetched_files(bucket, root / "store", lambda found: found == bucket.name) or reference)
    if named is None and "=" in given and not local_path(given).exists() and find_dataset(given.partition("=")[2], root) is not None:
        raise UsageError(f"{given}: {given.partition('=')[0]} cannot name a view; take letters, digits and _")
    if function is not None and local_path(reference).is_file():
        if fault := pointer_fault(Path(reference)):
            raise DatasetError(f"{reference}: {fault}")
        return [VisibleFile(name or re.sub(r"\W", "_", Path(reference).name.partition(".")[0]), Path(reference), function)]
    dataset = existing(reference, root)
    return [NamedDataset(name or dataset.table, dataset)]


def file_function(name: str) -> str | None:
    """The table function of DuckDB that reads a file of this name, None if no such file is read."""
    ending = re.sub(r"\.(gz|zst)$", "", name.lower()).rpartition(".")[2]
    return FILE_FUNCTIONS.get(ending)


def _of_run(run: str, root: Path, *, several: bool) -> Iterable[NamedDataset]:
    folder = run_folder(run, root)
    name = folder.resolve().name
    prefix = f"{name}_" if several else ""
    found = [
        NamedDataset(re.sub(r"\W", "_", f"{prefix}{step['phase']}_{step['round']}_{link}"), dataset, name, step["phase"], int(step["round"]), link)
        for step, place in _steps(folder)
        for link, dataset in _of_step(place)
    ]
    if not found:
        raise DatasetError(f"{folder}: no finished dataset in it; a run keeps them as <phase>-<round>/<table>")
    return found


def _guards_of_run(run: str, root: Path) -> Iterator[NamedGuard]:
    folder = run_folder(run, root)
    for step, place in _steps(folder):
        if (record := guard_record(place)) is not None:
            yield NamedGuard(folder.resolve().name, step["phase"], int(step["round"]), record)


def _steps(folder: Path) -> list[tuple[re.Match[str], Path]]:
    """The rounds of a run, by phase and number."""
    steps = [(step, place) for place in folder.iterdir() if place.is_dir() and (step := STEP.fullmatch(place.name))]
    return sorted(steps, key=lambda each: (each[0]["phase"], int(each[0]["round"])))


def _of_step(folder: Path) -> Iterable[tuple[str, Dataset]]:
    for place in sorted(folder.iterdir()):
        if place.name not in (*tables(), *ROLES):
            # The model that was trained on them.
            continue
        if (place / MANIFEST).is_file():
            yield place.name, open_dataset(place)
        elif place.is_symlink() or (place / WORK).is_dir():
            log.info("%s: not finished, left out", place)


def _of_store(root: Path) -> Iterable[NamedDataset]:
    store = root / "store"
    finished = [
        open_dataset(path.parent) for path in sorted(store.glob(f"*@*/{MANIFEST}")) if (name := MadeName.parsed(path.parent.name)) and name.of in tables()
    ]
    if not finished:
        raise DatasetError(f"{store}: no finished dataset; name one as REF, or a run with --run")
    newest = {dataset.table: dataset for dataset in sorted(finished, key=lambda dataset: dataset.manifest.created)}
    counts = Counter(dataset.table for dataset in finished)
    log.info(
        "views of %s: %s",
        store,
        ", ".join(dataset.folder.name + (f" (newest of {counts[table]})" if counts[table] > 1 else "") for table, dataset in newest.items()),
    )
    return [NamedDataset(table, dataset) for table, dataset in newest.items()]


def _refuse_one_name_for_two(datasets: Sequence[NamedDataset], files: Sequence[VisibleFile]) -> None:
    taken = {each.link: "the runs" for each in datasets if each.link is not None}
    for view, place in [(each.view, each.dataset.folder) for each in datasets] + [(each.view, each.path) for each in files]:
        name = view.lower()
        if name in OWN:
            raise UsageError(f"{view}={place}: every query has a table {name} of its own; give another name")
        if name in taken:
            raise UsageError(f"{view}: both {taken[name]} and {place} would be this view; name the second one: {name}_2={place}")
        taken[name] = str(place)


def _union(of: Sequence[NamedDataset]) -> str:
    return " UNION ALL ".join(
        f"SELECT '{_escaped(each.run or '')}' AS run, '{_escaped(each.phase or '')}' AS phase, {each.round} AS round, * FROM {quoted(each.view)}" for each in of
    )


def _escaped(text: str) -> str:
    return text.replace("'", "''")


def _manifest_row(each: NamedDataset) -> dict[str, object]:
    manifest = each.dataset.manifest
    models = ", ".join(f"{role}={record.identity}" for role, record in manifest.identity.models.items())
    row = {name: getattr(manifest, name) for name in ("table", "fingerprint", "rows_in", "rows", "seconds", "tokens", "created")}
    own = {"view": each.view, "run": each.run, "phase": each.phase, "round": each.round, "stage": manifest.identity.stage, "models": models}
    return {**row, **own, "folder": str(each.dataset.folder)}


def _column_rows(view: str, table: str) -> list[dict[str, str | None]]:
    return [{"view": view, "column": column.name, "type": column.sql_type, "comment": column.comment} for column in schema(table).columns]
