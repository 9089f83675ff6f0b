"""What a dataset was made from is found wherever it still lies, and told without the folders of this machine."""

from pathlib import Path

import pytest
from literal_rows import pair_row, row
from made import made_dataset

from sgpo_data.publishing.lineage import lineage, without_places
from sgpo_data.store.dataset import Dataset, open_dataset
from sgpo_data.store.manifest import MANIFEST, Identity, InputRecord, Manifest, ModelRecord


def made_from(dataset: Dataset, *inputs: InputRecord) -> Dataset:
    """The same dataset, as if it had been made from these."""
    models = {"policy": ModelRecord(identity="folder:ab+hub:org/adapter@0", location="/home/me/base+org/adapter@0")}
    identity = Identity(stage="test", revision=1, schema_version=2, fields=dataset.manifest.fingerprint, inputs=inputs, models=models)
    update = {"identity": identity, "fingerprint": identity.fingerprint, "origin": models["policy"]}
    (dataset.folder / MANIFEST).write_text(dataset.manifest.model_copy(update=update).model_dump_json())
    return open_dataset(dataset.folder)


def record(manifest: Manifest, reference: str) -> InputRecord:
    return InputRecord(reference=reference, table=manifest.table, fingerprint=manifest.fingerprint)


@pytest.mark.parametrize("lies", ["where it was given", "beside", "in the store", "nowhere"])
def test_an_input_is_found_where_it_lies_and_named_if_it_is_gone(lies: str, tmp_path: Path) -> None:
    source = InputRecord(reference="/home/me/train.jsonl", table=None, fingerprint="file:ab")
    earlier = made_from(made_dataset(tmp_path / "mine" / "filtered", "filtered", [row("a")]), source)
    fingerprint = earlier.manifest.fingerprint
    places = {
        "where it was given": (tmp_path / "other" / "x", str(tmp_path / "other" / "x")),
        "beside": (tmp_path / "mine" / "filtered", "elsewhere/filtered"),
        "in the store": (tmp_path / "runs" / "store" / f"filtered@{fingerprint[:8]}", "/home/me/gone"),
        "nowhere": (tmp_path / "lost", "/home/me/gone"),
    }
    place, reference = places[lies]
    place.parent.mkdir(parents=True, exist_ok=True)
    earlier.folder.rename(place)
    pairs = made_from(made_dataset(tmp_path / "mine" / "pairs", "pairs", [pair_row("a")]), record(earlier.manifest, reference))
    found = lineage([pairs], tmp_path / "runs")
    assert [manifest.fingerprint for manifest in found.datasets] == ([] if lies == "nowhere" else [fingerprint])
    assert [gone.reference for gone in found.gone] == (["/home/me/gone"] if lies == "nowhere" else [])
    told = found.without_places().model_dump_json() + without_places(pairs.manifest).model_dump_json()
    assert "/home/me" not in told
    assert "base+org/adapter@0" in told


def test_the_fingerprint_does_not_count_the_places(tmp_path: Path) -> None:
    pairs = made_from(made_dataset(tmp_path / "pairs", "pairs", [pair_row("a")]))
    told = without_places(pairs.manifest)
    assert told != pairs.manifest
    assert told.identity.fingerprint == pairs.manifest.fingerprint
