"""Finished datasets of literal rows, for tests."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from sgpo_data.schema import schema
from sgpo_data.stages.order import MAKERS
from sgpo_data.store.at_once import write_all
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.manifest import Identity, ModelRecord
from sgpo_data.store.resume import make
from sgpo_data.store.unfinished import StageSummary, Unfinished


def evaluated(given: Mapping[str, object]) -> Mapping[str, object]:
    """The row with what the tables of an evaluation ask for besides."""
    judged = {"judge": "j", "judgement": "a", "judgement_finish": "stop", "verdict": "first", "first_score": 1.0}
    compared = {"question": "q", "first": "model-a", "second": "model-b", "first_answer": "yes", "second_answer": "no"}
    graded = {"task": "t", "item": given.get("prompt_id"), "part": 0, "metric": "m", "model": "model-a"}
    return {**judged, **compared, **graded, **given}


def made_dataset(folder: Path, table: str, rows: Sequence[Mapping[str, object]], *, part_rows: int = 2) -> Dataset:
    """These rows as a finished dataset of this table; what other tables have besides is left out. Other rows, other fingerprint."""
    arrow = schema(table).arrow
    data = pa.Table.from_pylist([{name: each.get(name) for name in arrow.names} for each in map(evaluated, rows)], schema=arrow)
    models = {"policy": ModelRecord(identity="folder:abc", location="models/p")}
    identity = Identity(
        stage=f"test-{table}", revision=1, schema_version=schema(table).version, fields=json.loads(json.dumps(data.to_pylist())), inputs=(), models=models
    )

    def work(into: Unfinished) -> StageSummary:
        write_all(into, data.to_reader())
        outcome = MAKERS[table].outcome if table in MAKERS else "'row'"
        return StageSummary(rows_in=len(rows), outcome=outcome, facts={"upper_fence": 1.5}, warnings=("few rows",))

    return make(folder, identity, table=table, part_rows=part_rows, work=work)
