"""A run of literal rows and curves, for tests."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from made import made_dataset

from sgpo_data.loop.folder import STEPS
from sgpo_data.loop.rounds import Run, open_run
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.manifest import MANIFEST, Identity, InputRecord, ModelManifest, ModelRecord, host
from sgpo_data.training.curves import LOG

Tables = Mapping[str, Sequence[Mapping[str, object]]]


def made_run(root: Path, rounds: Mapping[str, Tables], *, name: str = "run", part_rows: int = 1000) -> Run:
    """A run whose rounds, by `<phase>-<number>`, hold these rows by table."""
    for place, tables in rounds.items():
        for table, rows in tables.items():
            made_dataset(root / name / place / table, table, rows, part_rows=part_rows)
    return open_run(name, root)


def planned(folder: Path, links: Sequence[str]) -> None:
    """Says that the last run of a recipe was to make these, as `<phase>-<number>/<table>`, in this order."""
    folder.mkdir(parents=True, exist_ok=True)
    places = [(*link.partition("/")[0].rsplit("-", 1), link) for link in links]
    uses = [{"phase": phase, "round": int(number), "stage": "s", "link": link, "name": link.replace("/", "@")} for phase, number, link in places]
    (folder / STEPS).write_text(json.dumps(uses))


def made_model(folder: Path, curves: Mapping[str, Sequence[float]], *, inputs: Sequence[Dataset] = (), objective: str = "dpo", beta: float = 0.1) -> None:
    """A trained model's folder, without the model: its record, and curves of equally spaced steps over one epoch."""
    records = tuple(InputRecord(reference=str(each.folder), table=each.table, fingerprint=each.manifest.fingerprint) for each in inputs)
    identity = Identity(
        stage="train",
        revision=1,
        schema_version=2,
        fields={"objective": objective, "learning_rate": 1e-6},
        inputs=records,
        models={"start": ModelRecord(identity="folder:abc", location="models/p")},
    )
    manifest = ModelManifest(
        fingerprint=identity.fingerprint,
        identity=identity,
        origin=None,
        weights="0",
        rows=sum(each.manifest.rows for each in inputs),
        left_out=0,
        config={"beta": beta},
        metrics={name: values[-1] for name, values in curves.items() if values},
        seconds=1.0,
        tokens=1,
        deterministic=True,
        created=datetime(2026, 1, 2, tzinfo=UTC),
        host=host(None),
        versions={},
        git_commit=None,
    )
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"step": step, "epoch": step / len(values), "name": name, "value": value} for name, values in curves.items() for step, value in enumerate(values, 1)
    ]
    kinds: list[tuple[str, pa.DataType]] = [("step", pa.int32()), ("epoch", pa.float64()), ("name", pa.string()), ("value", pa.float64())]
    types = pa.schema(kinds)
    pq.write_table(pa.Table.from_pylist(rows, schema=types), folder / LOG)
    (folder / MANIFEST).write_text(manifest.model_dump_json())
