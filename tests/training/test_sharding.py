"""Claims about a training on several devices that share its weights: the same curve as on one, by the shipped configurations."""

import json
import logging
import os
import re
import shutil
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from made import made_dataset
from safetensors.torch import load_file
from tiny_model import question, write_model

from sgpo_data.errors import EngineError, MissingExtraError, RecipeError, UsageError
from sgpo_data.execution import Execution
from sgpo_data.references.model import Model, find_model, model_manifest
from sgpo_data.rows import Message
from sgpo_data.store.input import input_of
from sgpo_data.training.curves import curves
from sgpo_data.training.job import TrainJob, do_train
from sgpo_data.training.nodes import Nodes, check_devices
from sgpo_data.training.options import Train
from sgpo_data.training.planning import planned_training
from sgpo_data.training.sharding import check_sharding, launch_config, refuse_whole_copies

NEAR = 1e-4
"""Between logged numbers of one process and of two, of the larger of 1 and the number: sums in another order, over some steps."""


def written(place: Path) -> tuple[TrainJob, TrainJob]:
    """A training, and the same whose reference answers before the first step."""
    start = find_model(str(write_model(place / "start")))
    rows = [
        {
            "prompt": question(f"say {number}"),
            "chosen": [Message(role="assistant", content=f"yes {number}")],
            "rejected": [Message(role="assistant", content=f"no {number * 7}")],
            "prompt_id": f"{number:032x}",
            "sample": 0,
            "source": "test",
            "policy": start.record.identity,
        }
        for number in range(8)
    ]
    pairs = made_dataset(place / "pairs", "pairs", rows)
    train = Train(batch_rows=4, epochs=2, learning_rate=1e-3)
    before = train.model_copy(update={"precompute_ref_log_probs": True})
    given = (input_of(pairs, str(pairs.folder)),)
    return planned_training(train, given, start), planned_training(before, given, start)


def numbers(model: Model) -> dict[str, tuple[float, ...]]:
    return {name: curve.values for name, curve in curves(model.folder).items()}


@pytest.fixture
def deepspeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepSpeed, for this process and those that it starts."""
    if find_spec("deepspeed") is None:
        beside = Path(sys.prefix, "deepspeed")
        if not (beside / "deepspeed").is_dir():
            pytest.skip("DeepSpeed is not installed; run: make zero3")
        monkeypatch.syspath_prepend(beside)
        monkeypatch.setenv("PYTHONPATH", f"{beside}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        monkeypatch.setenv("PATH", f"{beside / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if shutil.which("c++") is None:
        pytest.skip("DeepSpeed compiles what its processes talk by on a CPU, and there is no C++ compiler")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))


@pytest.mark.parametrize("sharding", ["fsdp", "zero3"])
def test_two_processes_that_share_the_weights_train_to_the_same_curve_as_one(
    sharding: Literal["fsdp", "zero3"], tmp_path: Path, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    if sharding == "zero3":
        request.getfixturevalue("deepspeed")
    (held, before), how = written(tmp_path), Execution(root=tmp_path / "runs", progress="none", device="cpu", status=tmp_path / "status.json")
    one = do_train(held, tmp_path / "one", how)
    with caplog.at_level(logging.INFO):
        # Sharded by ZeRO-3 the reference is asked at each step.
        two = do_train(before if sharding == "fsdp" else held, tmp_path / "two", how.model_copy(update={"sharding": sharding, "data_parallel": 2}))
    assert f"train: 2 processes share the weights by {sharding}" in caplog.messages
    alone, together = numbers(one), numbers(two)
    assert together.keys() == alone.keys()
    # Entropy and accuracy of tokens are means of means, over what a device computes at once.
    for name in (each for each in alone if each in ("loss", "grad_norm") or each.startswith("rewards/")):
        assert together[name] == pytest.approx(alone[name], rel=NEAR, abs=NEAR), name
    assert alone["rewards/margins"][-1] > 0.5
    mine, yours = load_file(one.folder / "model.safetensors"), load_file(two.folder / "model.safetensors")
    assert max((mine[name] - yours[name]).abs().max().item() for name in mine) < 1e-5
    manifests = [model_manifest(each.folder) for each in (one, two)]
    assert manifests[0] is not None
    assert manifests[1] is not None
    assert manifests[0].fingerprint == manifests[1].fingerprint
    (stage,) = json.loads((tmp_path / "status.json").read_text())["stages"]
    assert (stage["stage"], stage["rows_done"], stage["rows"]) == ("train dpo", 16, 16)


def test_two_machines_train_what_one_does(tmp_path: Path) -> None:
    (held, _), how = written(tmp_path), Execution(root=tmp_path / "runs", progress="none", device="cpu", sharding="fsdp")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with ThreadPoolExecutor(2) as pool:
        machines = [Nodes(nodes=2, node_rank=rank, main_address=address) for rank in (1, 0)]
        models = list(pool.map(lambda machine: do_train(held, tmp_path / "two", how, machine), machines))
    one = do_train(held, tmp_path / "one", how.model_copy(update={"sharding": "none"}))
    assert {model.folder for model in models} == {tmp_path / "two"}
    assert numbers(models[0])["loss"] == pytest.approx(numbers(one)["loss"], rel=NEAR, abs=NEAR)


@pytest.mark.parametrize(
    ("nodes", "line"),
    [
        (Nodes(nodes=2, node_rank=2, main_address="localhost:1"), "--node-rank: 2 is none of 2 machines; give 0 to 1"),
        (Nodes(node_rank=1), "--node-rank: is for several machines; give --nodes too"),
        (Nodes(main_address="localhost:1"), "--main-address: is for several machines; give --nodes too"),
        (Nodes(nodes=2), "--main-address: is missing; give HOST:PORT of machine 0, such as first:29500"),
        (Nodes(nodes=2, main_address="h"), "--main-address: h has no port; give HOST:PORT"),
        (Nodes(nodes=2, main_address="localhost:99999"), "--main-address: '99999' is no port; give 1 to 65535"),
        (Nodes(nodes=2, main_address="localhost:0"), "--main-address: '0' is no port"),
        (Nodes(nodes=2, main_address="no.such.host.invalid:1"), "--main-address: no.such.host.invalid: no such host"),
    ],
)
def test_machines_that_cannot_meet_are_refused(nodes: Nodes, line: str) -> None:
    with pytest.raises(UsageError, match=re.escape(line)):
        nodes.check()


def test_machines_without_a_gpu_are_told_to_shard() -> None:
    with pytest.raises(UsageError, match="give --sharding fsdp"):
        check_devices(Execution(device="cpu"))


@pytest.mark.parametrize(("sharding", "kind"), [("fsdp", "FSDP"), ("zero3", "DEEPSPEED")])
def test_the_configurations_that_come_along_are_those_of_accelerate(sharding: str, kind: str) -> None:
    with launch_config(sharding) as path:
        config = load_config_from_file(str(path))
        told = yaml.safe_load(path.read_text())
    assert config.distributed_type == kind
    # Types and processes are told beside it, so that they have one place.
    assert (config.mixed_precision, config.num_processes) == ("no", 1)
    if sharding == "fsdp":
        assert (told["fsdp_config"]["fsdp_version"], told["fsdp_config"]["fsdp_reshard_after_forward"]) == (2, True)
    else:
        assert told["deepspeed_config"]["zero_stage"] == 3


def test_a_launcher_that_would_train_whole_copies_is_refused() -> None:
    with pytest.raises(EngineError, match="--sharding fsdp: Accelerate would train by MULTI_CPU, with all weights in each process"):
        refuse_whole_copies("fsdp", "MULTI_CPU")
    refuse_whole_copies("none", "MULTI_CPU")


def test_what_zero3_cannot_do_is_refused_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    zero3, fsdp = Execution(sharding="zero3", device="cpu"), Execution(sharding="fsdp", device="cpu")
    monkeypatch.setattr("sgpo_data.training.sharding.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"deepspeed is not installed; run: pip install 'sgpo-data\[deepspeed\]'; or give --sharding fsdp"):
        check_sharding(zero3, Train())
    monkeypatch.setattr("sgpo_data.training.sharding.find_spec", lambda name: object())
    monkeypatch.setenv("CXX", "no-compiler")
    with pytest.raises(EngineError, match=r"--sharding zero3: .* C\+\+ compiler, and there is no no-compiler; install g\+\+, or give --sharding fsdp"):
        check_sharding(zero3, Train())
    monkeypatch.setenv("CXX", sys.executable)
    with pytest.raises(RecipeError, match="optimizer_dtype: weights cannot be with --sharding zero3"):
        check_sharding(zero3, Train(dtype="bfloat16", optimizer_dtype="weights"))
    check_sharding(fsdp, Train(dtype="bfloat16", optimizer_dtype="weights"))
