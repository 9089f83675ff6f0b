"""Claims about manifests from elsewhere: what cannot be made again is one line that names the place."""

from pathlib import Path

import duckdb
import pytest
from literal_rows import row
from made import made_dataset

from sgpo_data.errors import DatasetError
from sgpo_data.execution import Execution
from sgpo_data.loop.remade import remade
from sgpo_data.store.dataset import open_dataset
from sgpo_data.store.manifest import InputRecord

RAW = InputRecord(reference="p.jsonl", table=None, fingerprint="0123")
FAULTY: dict[str, tuple[dict[str, object], str]] = {
    "no list": ({"stage": "source", "fields": {"decontaminate": 3}, "inputs": (RAW,)}, r"decontaminate: is not the list .* \(got 3\)"),
    "sets without records": ({"stage": "source", "fields": {"decontaminate": [{}]}, "inputs": (RAW,)}, "the list of its 0 evaluation sets"),
    "a set without a name": ({"stage": "source", "fields": {"decontaminate": [{"shape": "auto"}]}, "inputs": (RAW, RAW)}, "has name, shape and columns"),
    "columns that are none": (
        {"stage": "source", "fields": {"decontaminate": [{"name": "x", "shape": "auto", "columns": 1}]}, "inputs": (RAW, RAW)},
        r"decontaminate.columns: is no list \(got 1\)",
    ),
    "no fields": ({"stage": "seed", "fields": [1], "inputs": (RAW,)}, r"fields: is no table \(got \[1\]\)"),
    "no input": ({"stage": "source", "fields": {}, "inputs": ()}, r"inputs: prompts are read from one at least \(got 0\)"),
    "three inputs": ({"stage": "filter", "fields": {}, "inputs": (RAW, RAW, RAW)}, r"inputs: a stage has one \(got 3\)"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_manifest_that_is_not_of_this_version_is_named_with_its_place(name: str, tmp_path: Path) -> None:
    identity, words = FAULTY[name]
    manifest = made_dataset(tmp_path / "a", "filtered", [row()]).manifest
    faulty = manifest.model_copy(update={"identity": manifest.identity.model_copy(update=identity)})
    with pytest.raises(DatasetError, match=rf"^{identity['stage']}@\w{{8}}: .*{words}.*; this version of sgpo-data does not know it$"):
        remade([faulty], [], Execution(root=tmp_path / "runs"))


def test_parts_of_uneven_size_are_named_where_rows_are_numbered(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "a", "filtered", [row("a"), row("b"), row("c")], part_rows=1)
    path = dataset.folder / "manifest.json"
    files = (dataset.manifest.files[0], dataset.manifest.files[1].model_copy(update={"rows": 7}), dataset.manifest.files[2])
    path.write_text(dataset.manifest.model_copy(update={"files": files}).model_dump_json())
    with duckdb.connect() as con, pytest.raises(DatasetError, match=r"manifest.json: part-00001.parquet has 7 rows, and each part but the last has 1"):
        open_dataset(dataset.folder).numbered(con)
