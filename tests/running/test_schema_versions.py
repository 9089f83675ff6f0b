"""Claims about what a change of one row type changes: the datasets of that table, and what is trained on them."""

from importlib import resources
from pathlib import Path

import pytest
from fake_model import model_folder
from literal_rows import row
from made import made_dataset

from sgpo_data import schema as schemas
from sgpo_data.references.model import find_model
from sgpo_data.running.planning import planned
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.stages.seed import Seed
from sgpo_data.store.input import JobInput, input_of
from sgpo_data.store.manifest import Identity
from sgpo_data.training.options import Train
from sgpo_data.training.planning import planned_training

EXAMPLE = {"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}], "prompt_id": "0", "sample": 0}
PAIR = {"prompt": EXAMPLE["prompt"], "chosen": EXAMPLE["completion"], "rejected": [{"role": "assistant", "content": "b"}], "prompt_id": "0", "sample": 0}


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, JobInput]:
    rows = {"prompts": row(), "filtered": row(), "examples": {**EXAMPLE, "kind": "reference", "source": "t"}, "pairs": {**PAIR, "source": "t"}}
    return {table: input_of(made_dataset(tmp_path / table, table, [values]), table) for table, values in rows.items()}


@pytest.fixture
def wider_pairs(tmp_path: Path) -> Path:
    """The row types with one column more in pairs, as a later release may have them."""
    folder = tmp_path / "schemas"
    folder.mkdir()
    for path in resources.files("sgpo_data.schemas").iterdir():
        if path.name.endswith(".sql"):
            (folder / path.name).write_text(path.read_text(encoding="utf-8"))
    text = (folder / "pairs.sql").read_text()
    (folder / "pairs.sql").write_text(text.replace("-- version 2", "-- version 3").replace("    improver ", "    judge VARCHAR,\n    improver "))
    return folder


def identities(inputs: dict[str, JobInput], model: Path) -> dict[str, Identity]:
    start = find_model(str(model))
    return {
        "seed": planned(Seed(), inputs["prompts"], model=start).identity,
        "pair": planned(Pair(), inputs["filtered"], model=None).identity,
        "sft": planned_training(Train(objective="sft"), (inputs["examples"],), start).identity,
        "dpo": planned_training(Train(), (inputs["pairs"],), start).identity,
    }


def test_a_column_more_in_pairs_changes_pairs_and_what_is_trained_on_them_alone(
    inputs: dict[str, JobInput], tmp_path: Path, wider_pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_folder(tmp_path / "model")
    before = identities(inputs, model)
    monkeypatch.setattr(schemas, "FOLDER", wider_pairs)
    after = identities(inputs, model)
    assert "judge" in schemas.schema("pairs").column_names
    assert {name for name, identity in after.items() if identity.fingerprint != before[name].fingerprint} == {"pair", "dpo"}
    assert before["pair"].differences(after["pair"]) == ["schema_version: 2 -> 3"]
