from pathlib import Path

import pytest

from sgpo_data.errors import DatasetError, MissingExtraError
from sgpo_data.schema import schema
from sgpo_data.store.dataset import WORK
from sgpo_data.store.lock import PLAN
from sgpo_data.store.manifest import Identity
from sgpo_data.store.parquet import write_parquet
from sgpo_data.store.resume import take_up
from sgpo_data.training.options import Train
from sgpo_data.training.planning import planned_training


def test_a_part_beside_a_lost_plan_is_refused_and_kept(tmp_path: Path) -> None:
    identity = Identity(stage="seed", revision=1, schema_version=1, fields={}, inputs=(), models={})
    folder = tmp_path / "out"
    with take_up(folder, identity, table="responses", part_rows=2):
        pass
    (folder / "part-00000.parquet").write_bytes(b"rows of other settings")
    (folder / WORK / PLAN).unlink()
    with pytest.raises(DatasetError, match=r"plan\.json is gone"), take_up(folder, identity, table="responses", part_rows=2):
        pass
    assert (folder / "part-00000.parquet").read_bytes() == b"rows of other settings"


def test_training_without_the_models_extra_says_what_to_install_before_it_looks_at_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgpo_data.training.planning.find_spec", lambda name: None if name == "trl" else object())
    with pytest.raises(MissingExtraError, match=r"^trl is not installed; run: pip install 'sgpo-data\[models\]'$"):
        planned_training(Train(), (), None)  # type: ignore[arg-type]


def test_a_part_of_other_settings_beside_the_plan_is_refused_and_kept(tmp_path: Path) -> None:
    mine, other = (Identity(stage="seed", revision=1, schema_version=1, fields={"seed": seed}, inputs=(), models={}) for seed in (0, 1))
    table = schema("responses")
    with take_up(tmp_path / "out", mine, table="responses", part_rows=2):
        pass
    part = tmp_path / "out" / "part-00000.parquet"
    write_parquet(part, table.arrow.empty_table(), table, fingerprint=other.fingerprint)
    before = part.read_bytes()
    with pytest.raises(DatasetError, match="is no part of this dataset"), take_up(tmp_path / "out", mine, table="responses", part_rows=2):
        pass
    assert part.read_bytes() == before
    write_parquet(part, table.arrow.empty_table(), table, fingerprint=mine.fingerprint)
    with take_up(tmp_path / "out", mine, table="responses", part_rows=2) as into:
        assert into is not None
        assert list(into.files) == [0]
