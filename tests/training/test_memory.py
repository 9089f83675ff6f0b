"""Claims about the arithmetic of memory: it comes to what a training takes, and knows what saves memory and what shares it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made import made_dataset
from tiny_model import question, tiny_config, tiny_tokenizer, write_model
from transformers import LlamaConfig

from sgpo_data.engines.chat import load_chat
from sgpo_data.execution import Execution
from sgpo_data.references.model import find_model
from sgpo_data.rows import Message
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.input import input_of
from sgpo_data.training.job import TrainJob, _task
from sgpo_data.training.memory import Devices, Size, job_bytes, model_size, training_bytes, training_devices
from sgpo_data.training.options import Lora, Train
from sgpo_data.training.planning import planned_training

MEASURED = Path(__file__).parent.parent / "measured_training.py"
NEAR = 0.15
QWEN_7B = Size(
    weights=7_615_616_512,
    layers=28,
    hidden=3584,
    intermediate=18944,
    heads=28,
    head_width=128,
    key_values=1024,
    vocabulary=152064,
    adapted=2_523_136,
    unit=544_997_376,
)
"""Of Qwen2.5-7B, by its config.json."""
GB = 10**9


def config(hidden: int, intermediate: int, layers: int) -> LlamaConfig:
    made = tiny_config(4000)
    made.hidden_size, made.intermediate_size, made.num_hidden_layers = hidden, intermediate, layers
    made.num_attention_heads = made.num_key_value_heads = hidden // 64
    made.head_dim, made.max_position_embeddings, made.initializer_range = 64, 1024, 0.02
    return made


def rows(place: Path, train: Train, letters: int) -> Dataset:
    """Two, with answers of so many letters, each a token."""

    def answer(letter: str) -> list[Message]:
        return [Message(role="assistant", content=letter * letters)]

    own: dict[str, object] = {"prompt": question("zz"), "sample": 0, "source": "test"}
    by: dict[str, dict[str, object]] = {
        "pairs": {"chosen": answer("z"), "rejected": answer("q"), "policy": None},
        "examples": {"completion": answer("z"), "kind": "reference"},
    }
    table = train.needs.reads
    return made_dataset(place / table, table, [{**own, **by[table], "prompt_id": f"{number:032x}"} for number in range(2)])


def written(place: Path, train: Train, shape: LlamaConfig | None, letters: int) -> tuple[TrainJob, Path]:
    """The training of a model of this shape, and the file that tells a process of it."""
    start = write_model(place / "start", config=shape or tiny_config(len(tiny_tokenizer())))
    data = rows(place, train, letters)
    rendering = load_chat(start, train).rendering(question("zz"), "z" * letters)
    assert rendering is not None
    fitting = train.model_copy(update={"max_tokens": len(rendering.prompt) + len(rendering.answer)})
    job = planned_training(fitting, (input_of(data, str(data.folder)),), find_model(str(start)))
    task = place / "task.json"
    (place / "work").mkdir()
    how = Execution(root=place / "runs", progress="none", device="cpu")
    task.write_text(_task(job, place / "work", [data], how).model_dump_json())
    return job, task


@pytest.mark.parametrize(
    ("shape", "train", "letters"),
    [
        (config(384, 1024, 8), Train(batch_rows=2, epochs=2, allow_policies=("given",), sft_weight=1.0), 360),
        (config(640, 1728, 10), Train(objective="sft", batch_rows=2, epochs=2), 500),
    ],
    ids=["dpo of 17 million", "sft of 55 million"],
)
def test_the_arithmetic_comes_to_what_a_step_takes(shape: LlamaConfig, train: Train, letters: int, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    _, first = written(tmp_path / "tiny", train, None, 20)
    job, task = written(tmp_path, train, shape, letters)
    assert job.longest > letters
    # Freed memory goes back at once, so that what is measured is what is held.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, str(MEASURED), str(first), str(task)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = job_bytes(job, model_size(job.start.config), training_devices(Execution(device="cpu")))
    assert sum(told.values()) == pytest.approx(int(done.stdout), rel=NEAR), told


def gigabytes(train: Train, *, devices: int = 1, shared: bool = False, reference: bool = True) -> dict[str, float]:
    one = Devices(devices, shared=shared, batch_tokens=16384, gpu=True)
    return {part: size / GB for part, size in training_bytes(QWEN_7B, train, 2048, one, reference=reference).items()}


def test_a_7b_in_float32_holds_122_gigabytes_and_30_of_its_reference_on_each_device() -> None:
    for devices in (1, 8):
        parts = gigabytes(Train(dtype="float32"), devices=devices)
        assert parts["weights"] + parts["gradients"] + parts["optimizer"] == pytest.approx(122, abs=1)
        assert parts["reference"] == pytest.approx(30.5, abs=0.5)


def test_devices_that_share_hold_their_part_and_what_is_gathered() -> None:
    whole, part = gigabytes(Train(dtype="bfloat16")), gigabytes(Train(dtype="bfloat16"), devices=8, shared=True)
    assert part["weights"] + part["gradients"] + part["optimizer"] == pytest.approx(16 * 7.616 / 8, rel=0.01)
    assert part["reference"] == pytest.approx(whole["reference"] / 8, rel=0.01)
    assert part["gathered"] == pytest.approx(3 * 2 * 0.545, rel=0.01)


def test_what_saves_memory_is_not_counted() -> None:
    bfloat16 = Train(dtype="bfloat16")
    adapter = bfloat16.model_copy(update={"lora": Lora(rank=16)})
    assert gigabytes(adapter, reference=False)["weights"] == pytest.approx(15.3, abs=0.1)
    assert gigabytes(adapter, reference=False)["optimizer"] == pytest.approx(16 * 2_523_136 * 8 / GB)
    assert gigabytes(bfloat16.model_copy(update={"precompute_ref_log_probs": True}))["reference"] == 0
    assert gigabytes(bfloat16.model_copy(update={"optimizer_dtype": "weights"}))["optimizer"] == pytest.approx(30.5, abs=0.1)
    kept, again = (gigabytes(bfloat16.model_copy(update={"gradient_checkpointing": each}))["activations"] for each in (False, True))
    assert again < kept / 10
