"""The five stages over a real model, through a real shell, into the programs that read what comes out."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import pytest
from warm import warm_path

from sgpo_data.execution import Execution
from sgpo_data.running.runner import run
from sgpo_data.schema import schema
from sgpo_data.stages.improve.improve import Improve
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.stages.seed import Seed
from sgpo_data.store.dataset import Dataset, faults, open_dataset
from sgpo_data.toy.__main__ import chats, prompts
from sgpo_data.toy.model import base_model

TABLES = {"a": "responses", "b": "improved", "c": "scored", "d": "filtered", "pairs": "pairs"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    base_model(folder / "model")
    prompts(60, 3, folder / "prompts.jsonl")
    chats(40, 3, folder / "chats.jsonl")
    return folder


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": warm_path(folder.with_name("bin"))}
    return subprocess.run(["bash", "-o", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", params=["prompts.jsonl", "chats.jsonl"])
def chain(request: pytest.FixtureRequest, world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    folder = tmp_path_factory.mktemp("chain")
    finished = shell(
        f"sgpo seed {world}/{request.param} --model {world}/model -o a --sampling.max_tokens 64 | sgpo improve - -o b --sampling.max_tokens 64 |"
        " sgpo score-ppl - -o c | sgpo filter - -o d --gates.min_edited_words 2 | sgpo pair - -o pairs",
        folder,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "pairs\n"
    return {name: open_dataset(folder / name) for name in TABLES}


def test_the_shell_pipeline_makes_every_table_whole(chain: dict[str, Dataset]) -> None:
    assert {name: dataset.table for name, dataset in chain.items()} == TABLES
    assert [fault for dataset in chain.values() for fault in faults(dataset)] == []
    assert chain["a"].manifest.rows == chain["b"].manifest.rows == chain["c"].manifest.rows == chain["d"].manifest.rows >= 40
    assert chain["pairs"].manifest.rows == chain["d"].manifest.outcomes["kept"] > 0
    assert sum(chain["d"].manifest.outcomes.values()) == chain["d"].manifest.rows


@pytest.mark.parametrize("name", TABLES)
def test_datasets_and_duckdb_read_every_output(chain: dict[str, Dataset], name: str, tmp_path: Path) -> None:
    from datasets import load_dataset  # type: ignore[import-untyped]

    dataset = chain[name]
    files = [str(path) for path in dataset.paths]
    loaded = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert loaded.num_rows == dataset.manifest.rows
    assert loaded.features.arrow_schema.remove_metadata() == schema(dataset.table).arrow
    with duckdb.connect() as con:
        rows = con.read_parquet(files)
        assert rows.aggregate("count(*)").fetchall() == [(dataset.manifest.rows,)]
        assert rows.columns == list(schema(dataset.table).column_names)


def test_pairs_and_examples_go_into_the_trainers_as_they_are(chain: dict[str, Dataset], world: Path, tmp_path: Path) -> None:
    from datasets import load_dataset
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer  # type: ignore[attr-defined]

    how: dict[str, Any] = {
        "max_steps": 3,
        "per_device_train_batch_size": 2,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_steps": 1,
        "gradient_checkpointing": False,
    }
    pairs = load_dataset("parquet", data_files=[str(path) for path in chain["pairs"].paths], split="train", cache_dir=str(tmp_path))
    dpo = DPOTrainer(model=str(world / "model"), args=DPOConfig(output_dir=str(tmp_path / "dpo"), **how), train_dataset=pairs)
    assert dpo.train().global_step == 3
    made = run(Pair(kind="examples"), str(chain["d"].folder), execution=Execution(root=tmp_path / "runs", progress="none"))
    assert set(made.scan().collect()["kind"]) == {"improve", "reference"}
    examples = load_dataset("parquet", data_files=[str(path) for path in made.paths], split="train", cache_dir=str(tmp_path))
    sft = SFTTrainer(model=str(world / "model"), args=SFTConfig(output_dir=str(tmp_path / "sft"), **how), train_dataset=examples)
    assert sft.train().global_step == 3


def test_neither_parts_nor_batches_change_a_response(world: Path, tmp_path: Path) -> None:
    sampling = {"max_tokens": 48}
    ways = {"one by one": (7, 1, 1), "sixteen at once": (512, 16 * 400, 16), "all at once": (7, 100_000, 256)}
    made = {}
    for way, (part_rows, batch_tokens, window) in ways.items():
        how = Execution(root=tmp_path / way, part_rows=part_rows, batch_tokens=batch_tokens, window=window, progress="none")
        seeded = run(Seed.model_validate({"samples": 2, "sampling": sampling}), str(world / "prompts.jsonl"), model=str(world / "model"), execution=how)
        improved = run(Improve.model_validate({"sampling": sampling}), str(seeded.folder), execution=how)
        made[way] = improved.scan().select("prompt_id", "sample", "response", "improved").collect()
    assert made["one by one"].height == 120
    assert made["one by one"]["response"].n_unique() > 60
    assert made["sixteen at once"].equals(made["one by one"])
    assert made["all at once"].equals(made["one by one"])


def test_multi_turn_chats_keep_their_turns_in_the_improver_prompt(world: Path, tmp_path: Path) -> None:
    chat = [json.loads(line)["messages"] for line in (world / "chats.jsonl").read_text().splitlines()]
    how = Execution(root=tmp_path, progress="none")
    seeded = run(Seed.model_validate({"sampling": {"max_tokens": 48}}), str(world / "chats.jsonl"), model=str(world / "model"), execution=how)
    rows = seeded.scan().collect()
    by_messages = {json.dumps(row["messages"]): row["reference"] for row in rows.iter_rows(named=True)}
    assert by_messages == {json.dumps(turns[:-1]): turns[-1]["content"] for turns in chat}
    improved = run(Improve.model_validate({"sampling": {"max_tokens": 48}}), str(seeded.folder), execution=how).scan().collect()
    for row in improved.iter_rows(named=True):
        rendered = "\n".join(turn["content"] for turn in row["improver_prompt"])
        assert all(turn["content"] in rendered for turn in row["messages"])
        assert row["response"] in rendered
        assert row["reference"] not in rendered or row["reference"] == row["response"]
