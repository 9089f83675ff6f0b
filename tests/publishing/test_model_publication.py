"""A trained model is published as it was trained, and is the same model where it is read from the Hub."""

from pathlib import Path

import pytest
from hub_server import Hub
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.errors import ModelError
from sgpo_data.evaluation.summary import EvaluationSummary
from sgpo_data.publishing.publication import model_publication
from sgpo_data.references.model import content_digest, find_model
from sgpo_data.store.manifest import MANIFEST, Identity, ModelManifest, ModelRecord, host


def sgpo(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder as training leaves it; its weights are bytes that nothing loads."""
    folder = tmp_path / "model@1"
    (folder / "adapter").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 100)
    (folder / "config.json").write_text('{"max_position_embeddings": 512}')
    (folder / "log.parquet").write_bytes(b"PAR1")
    (folder / "adapter" / "adapter_config.json").write_text('{"r": 4}')
    (folder / "README.md").write_text("---\nlibrary_name: transformers\n---\n\n# a model\n")
    start = ModelRecord(identity="folder:abc", location=str(tmp_path / "secret place" / "start"))
    identity = Identity(stage="train", revision=1, schema_version=2, fields={"objective": "dpo"}, inputs=(), models={"start": start})
    manifest = ModelManifest(
        fingerprint=identity.fingerprint, identity=identity, origin=start, weights=content_digest(folder), rows=3, left_out=0, config={}, metrics={},
        seconds=1, tokens=2, deterministic=True, created="2026-01-01T00:00:00Z", host=host(None), versions={}, git_commit=None,
    )  # fmt: skip
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    return folder


def test_a_published_model_is_the_same_model_where_it_is_read(hub: Hub, trained: Path, tmp_path: Path) -> None:
    code, out, err = sgpo("publish", str(trained), "org/m", "--tag", "v1", "--license", "mit")
    assert code == 0, err
    reference = out.strip()
    assert reference.startswith("org/m@")
    found = find_model(reference)
    assert found.record.identity == find_model(str(trained)).record.identity
    assert found.record.location == reference
    assert ModelCard((found.folder / "README.md").read_text()).data.to_dict()["license"] == "mit"  # type: ignore[no-untyped-call]
    assert str(tmp_path) not in (found.folder / MANIFEST).read_text()
    assert (found.folder / "adapter" / "adapter_config.json").exists()
    assert hub.repositories.find("org/m", "model").private
    code, again, _ = sgpo("publish", str(trained), "org/m", "--tag", "v1", "--license", "mit")
    assert (code, again) == (0, out)


def test_the_card_holds_what_was_found_of_the_model(hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = EvaluationSummary("alpaca_eval.json", "train:1", answered=804, questions=805)
    asked: list[str] = []

    def of_runs(model: str, root: Path) -> list[EvaluationSummary]:
        asked.append(model)
        return [found]

    monkeypatch.setattr("sgpo_data.publishing.choice.model_evaluations", of_runs)
    code, out, err = sgpo("publish", str(trained), "org/m", "--tag", "v1")
    assert code == 0, err
    card = (find_model(out.strip()).folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers")
    assert "Of this model, on alpaca_eval.json." in card
    assert "| whole answers | 804 of 805 |" in card
    assert asked == [find_model(str(trained)).record.identity]


def test_weights_that_changed_since_they_were_trained_are_not_published(trained: Path) -> None:
    (trained / "model.safetensors").write_bytes(b"others")
    with pytest.raises(ModelError, match="weights have changed"):
        model_publication(trained, "org/m", tag="v1", license=None)


def test_a_model_that_was_not_trained_here_is_not_published(trained: Path) -> None:
    (trained / MANIFEST).unlink()
    code, _, err = sgpo("publish", str(trained), "org/m", "--tag", "v1")
    assert code == 1
    assert "no training of ours" in err


def test_weights_that_the_hub_has_otherwise_are_not_taken_for_ours(hub: Hub, trained: Path) -> None:
    api = HfApi()
    api.create_repo("org/m")
    files = [path for path in trained.iterdir() if path.is_file() and path.name != "model.safetensors"]
    operations = [*(CommitOperationAdd(path.name, path) for path in files), CommitOperationAdd("model.safetensors", b"others")]
    api.create_commit("org/m", operations, commit_message="m")
    with pytest.raises(ModelError, match="weights have changed"):
        find_model("org/m")
