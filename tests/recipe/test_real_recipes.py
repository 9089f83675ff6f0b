"""Claims about the recipes for real machines: what they say of memory and time is what the arithmetic says, and they plan in an empty folder."""

import json
import re
from pathlib import Path

import pytest
from hub_server import Hub
from huggingface_hub import HfApi
from sgpo_data.cli.main import app
from sgpo_data.cli.printing.trainings import SPEED
from tiny_model import tiny_config, tiny_tokenizer, write_model
from typer.testing import CliRunner

from sgpo_data.recipe.file import parsed
from sgpo_data.recipe.shipped import shipped_recipe
from sgpo_data.training.memory import Devices, Size, operations, training_bytes
from sgpo_data.training.options import Train

QWEN_7B = Size(
    weights=7_615_616_512, layers=28, hidden=3584, intermediate=18944, heads=28, head_width=128, key_values=1024, vocabulary=152064,
    adapted=2_523_136, unit=544_997_376,
)  # fmt: skip
QWEN_HALF = Size(
    weights=494_032_768, layers=24, hidden=896, intermediate=4864, heads=14, head_width=64, key_values=256, vocabulary=151936,
    adapted=549_888, unit=136_134_656,
)  # fmt: skip
REAL = {
    "sgpo": (QWEN_7B, Devices(8, shared=True, batch_tokens=16384, gpu=True)),
    "sgpo-lora": (QWEN_7B, Devices(1, shared=False, batch_tokens=2048, gpu=True)),
    "sgpo-small": (QWEN_HALF, Devices(1, shared=False, batch_tokens=16384, gpu=True)),
}
"""The model of each, by its config.json, and what its flags make of the machine."""
SOURCE = "".join(json.dumps({"prompt": f"say {number}", "response": f"yes {number}"}) + "\n" for number in range(4))


def trainings(name: str) -> list[Train]:
    phases = parsed(shipped_recipe(name).text, Path(f"{name}.toml")).phases
    return [phase.train.model_copy(update={"dtype": "bfloat16"}) for phase in phases if phase.train is not None]


@pytest.mark.parametrize("name", REAL)
def test_a_recipe_states_the_memory_and_time_that_the_arithmetic_comes_to(name: str) -> None:
    size, devices = REAL[name]
    told = re.search(r"at most (\d+) GB.*? ([\d.]+) min for 1,000 of its longest pairs at (\d+) TFLOP/s", shipped_recipe(name).text)
    assert told is not None
    bytes_of = [
        sum(training_bytes(size, train, train.max_tokens, devices, reference=train.needs.compares and not train.lora.rank).values())
        for train in trainings(name)
    ]
    assert int(told[1]) == round(max(bytes_of) / 1e9)
    (pairs,) = (train for train in trainings(name) if train.needs.compares)
    minutes = 1000 * operations(size, pairs, pairs.max_tokens, devices) / SPEED / devices.count / 60
    assert float(told[2]) == pytest.approx(minutes, abs=0.05)
    assert int(told[3]) == SPEED / 1e12


@pytest.mark.parametrize("name", REAL)
def test_a_recipe_for_a_real_machine_plans_in_an_empty_folder(name: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api, recipe = HfApi(), shipped_recipe(name)
    config = tiny_config(len(tiny_tokenizer()))
    config.max_position_embeddings = 8192
    recipe_read = parsed(recipe.text, tmp_path / f"{name}.toml")
    api.create_repo(recipe_read.model)
    api.upload_folder(repo_id=recipe_read.model, folder_path=write_model(tmp_path / "model", config=config))
    for path, split in {(phase.source.path, phase.source.split) for phase in recipe_read.phases if phase.source is not None}:
        api.create_repo(path, repo_type="dataset")
        api.upload_file(repo_id=path, repo_type="dataset", path_or_fileobj=SOURCE.encode(), path_in_repo=f"data/{split or 'train'}.jsonl")
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert CliRunner().invoke(app, ["init", name]).exit_code == 0
    planned = CliRunner().invoke(app, ["run", f"recipes/{name}.toml", *recipe.flags.split(), "--dry-run"])
    assert planned.exit_code == 0, planned.stderr
    assert [line.split()[0] for line in planned.stdout.splitlines()[1:]].count("policy") >= 6
    assert re.search(r"policy train: [\d.]+ GB on each device.*; less than a second for 1,000 rows of \d+ tokens on a GPU\n", planned.stderr)
    assert "by arithmetic, nothing of it is measured; a GPU is taken to do 400 TFLOP/s, and there is none here" in planned.stderr
