"""inspect and check of a model folder: the record of its training, or what is known without one."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from literal_rows import row
from made import made_dataset
from safetensors.numpy import save
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.errors import DatasetError
from sgpo_data.references.model import content_digest
from sgpo_data.store.dataset import open_dataset
from sgpo_data.store.manifest import Identity, InputRecord, ModelManifest, ModelRecord, host


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(save({"weight": np.zeros(2, dtype=np.float32)}))
    return folder


@pytest.fixture
def trained(foreign: Path) -> Path:
    models = {"start": ModelRecord(identity="folder:abc", location="models/start")}
    inputs = (InputRecord(reference="pairs", table="pairs", fingerprint="12345678" * 8),)
    identity = Identity(stage="train", revision=1, schema_version=2, fields={"objective": "dpo", "beta": 0.1}, inputs=inputs, models=models)
    manifest = ModelManifest(
        fingerprint=identity.fingerprint,
        identity=identity,
        origin=models["start"],
        weights=content_digest(foreign),
        rows=70,
        left_out=3,
        config={"a": 1},
        metrics={"loss": 0.5},
        seconds=2.5,
        tokens=1000,
        deterministic=True,
        created=datetime(2026, 1, 2, tzinfo=UTC),
        host=host(None),
        versions={},
        git_commit=None,
    )
    (foreign / "manifest.json").write_text(manifest.model_dump_json())
    return foreign


def asked(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "100"})
    return result.exit_code, result.stdout, result.stderr


def test_trained_model_shows_from_what_and_how_it_was_trained(trained: Path) -> None:
    code, out, _ = asked("inspect", trained)
    assert code == 0
    for told in ("identity        train:", "start           folder:abc", "objective       dpo", "beta            0.1", "last metrics    loss 0.5"):
        assert f"  {told}" in out
    assert "rows            70, 3 longer than max_tokens left out" in out
    assert "trained on      pairs (pairs@12345678)" in out


def test_json_of_a_trained_model_is_its_record(trained: Path) -> None:
    told = json.loads(asked("inspect", trained, "--json")[1])
    assert (told["model"], told["rows"], told["metrics"], told["recipe"]["fields"]["beta"]) == (str(trained), 70, {"loss": 0.5}, 0.1)
    assert told["identity"].startswith("train:")


def test_foreign_model_shows_what_is_known(foreign: Path) -> None:
    code, out, _ = asked("inspect", foreign)
    assert code == 0
    assert f"identity        folder:{content_digest(foreign)}" in out
    assert "there is no record of its training" in out


def test_model_of_the_root_is_found(trained: Path) -> None:
    assert asked("inspect", trained.name, "--root", trained.parent)[0] == 0


def test_check_verifies_the_weights(trained: Path) -> None:
    code, out, _ = asked("check", trained)
    assert code == 0
    assert out.startswith(f"{trained}: whole: train:")
    (trained / "model.safetensors").write_bytes(b"other")
    code, _, told = asked("check", trained)
    assert code == 3
    assert "the weights have changed since they were trained" in told


def test_check_of_a_foreign_model_says_that_there_is_no_record(foreign: Path) -> None:
    code, out, _ = asked("check", foreign)
    assert code == 0
    assert "not trained here: there is no record to check it against" in out


def test_model_where_a_dataset_is_asked_for_is_told(trained: Path) -> None:
    with pytest.raises(DatasetError, match="holds a model, not a dataset; sgpo inspect shows it"):
        open_dataset(trained)


def test_dataset_is_no_model(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "d", "prompts", [row("a")])
    assert asked("check", dataset.folder)[1].endswith("whole: 1 rows of prompts, 1 files\n")
