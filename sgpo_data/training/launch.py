"""Where a training runs: in this process, or by Accelerate on several devices."""

import logging
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from sgpo_data.errors import EngineError
from sgpo_data.store.files import write_text
from sgpo_data.training.nodes import ONE, Nodes
from sgpo_data.training.sharding import launch_config
from sgpo_data.training.task import RESULT, TOLD, TrainingResult, TrainingTask
from sgpo_data.training.trl import run_training

log = logging.getLogger(__name__)


def run_task(task: TrainingTask, nodes: Nodes = ONE) -> TrainingResult | None:
    """What came of the training; None on a machine that is not the first of several.

    On a machine with several GPUs all of them train, or the one that the device names, each in a process that Accelerate starts; weights are shared out over
    them as --sharding says, on a CPU over as many processes as --data-parallel.
    Raises as `run_training` does; EngineError if one of several processes fails, which says why on standard error.
    """
    how = task.execution
    chosen, visible = _devices(how.device)
    processes = len(chosen) if visible else how.data_parallel if how.sharding != "none" else 1
    if nodes.nodes > 1:
        log.info("%s", nodes.waiting)
    if processes * nodes.nodes == 1 and how.sharding != "none":
        log.info("train: one device, so --sharding %s has nothing to share out", how.sharding)
        task = task.model_copy(update={"execution": how.model_copy(update={"sharding": "none"})})
    if processes * nodes.nodes == 1 and visible <= 1:
        return run_training(task)
    return _launched(task.model_copy(update={"devices": processes * nodes.nodes}), chosen, visible, nodes)


def _devices(device: str) -> tuple[list[int], int]:
    """The GPUs that train, and how many there are."""
    visible = 0 if device == "cpu" else torch.cuda.device_count()
    numbers = [device.removeprefix("cuda:")] if device.startswith("cuda:") else ["0"] if device == "cuda" else []
    if not (device in ("auto", "cpu") or (numbers and numbers[0].isdecimal() and int(numbers[0]) < visible)):
        raise EngineError(f"--device {device}: no such device among the {visible} GPUs here; give auto, cpu, cuda or cuda:N")
    return [int(number) for number in numbers] or list(range(visible)), visible


def _launched(task: TrainingTask, chosen: list[int], visible: int, nodes: Nodes) -> TrainingResult | None:
    if task.execution.sharding != "none":
        log.info("train: %d processes share the weights by %s", task.devices, task.execution.sharding)
    if nodes.node_rank:
        # The folder of the work is the first machine's to begin.
        with TemporaryDirectory(prefix="sgpo-train-") as folder:
            _launch(task, Path(folder, TOLD), chosen, visible, nodes)
        return None
    result = task.work / RESULT
    result.unlink(missing_ok=True)
    _launch(task, task.work / TOLD, chosen, visible, nodes)
    if not result.is_file():
        raise EngineError("train: the processes have ended without a result; the same command goes on from there")
    return TrainingResult.model_validate_json(result.read_bytes())


def _launch(task: TrainingTask, told: Path, chosen: list[int], visible: int, nodes: Nodes) -> None:
    """The processes of this machine, to their end."""
    write_text(told, task.model_dump_json())
    sharding = task.execution.sharding
    environment = {**os.environ, **(_seen(chosen, visible) if visible else {"DS_ACCELERATOR": "cpu"})}
    launch = [sys.executable, "-m", "accelerate.commands.launch", *nodes.launch, "--num_processes", str(task.devices)]
    with launch_config(sharding) if sharding != "none" else nullcontext() as config:
        port = ["--main_process_port", "0"] if config and nodes.nodes == 1 else []
        several = ["--config_file", str(config), *port] if config else ["--multi_gpu"] if task.devices > 1 else []
        command = [*launch, *several, "-m", "sgpo_data.training.trl", str(told)]
        # What the processes print is for people: standard output is for the reference alone.
        code = subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode
    if code:
        raise EngineError(f"train: a training process ended with code {code}; its own line above says why, and the same command goes on from there")


def _seen(chosen: list[int], visible: int) -> dict[str, str]:
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[number] if len(names) == visible else str(number) for number in chosen)}
