"""Where a training runs: in this process, or by Accelerate on several devices."""

import os
import subprocess
import sys

import torch

from sgpo_data.errors import EngineError
from sgpo_data.store.files import write_text
from sgpo_data.training.task import TrainingResult, TrainingTask
from sgpo_data.training.trl import run_training


def run_task(task: TrainingTask) -> TrainingResult:
    """What came of the training.

    On a machine with several GPUs all of them train, or the one that the device names, each in a process that Accelerate starts.
    Raises as `trained` does; EngineError if one of several processes fails, which says why on standard error.
    """
    device = task.execution.device
    visible = 0 if device == "cpu" else torch.cuda.device_count()
    numbers = [device.removeprefix("cuda:")] if device.startswith("cuda:") else ["0"] if device == "cuda" else []
    if not (device in ("auto", "cpu") or (numbers and numbers[0].isdecimal() and int(numbers[0]) < visible)):
        raise EngineError(f"--device {device}: no such device among the {visible} GPUs here; give auto, cpu, cuda or cuda:N")
    chosen = [int(number) for number in numbers] or list(range(visible))
    if visible <= 1:
        return run_training(task)
    told, result = task.work / "task.json", task.work / "trained.json"
    write_text(told, task.model_copy(update={"devices": len(chosen)}).model_dump_json())
    result.unlink(missing_ok=True)
    visible_names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = [visible_names[number] for number in chosen] if len(visible_names) == visible else list(map(str, chosen))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_machines", "1", "--num_processes", str(len(chosen))]
    several = ["--multi_gpu"] if len(chosen) > 1 else []
    command = [*launch, *several, "-m", "sgpo_data.training.trl", str(told)]
    # What the processes print is for people: standard output is for the reference alone.
    code = subprocess.run(command, env={**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(names)}, stdout=sys.stderr, check=False).returncode
    if code or not result.is_file():
        raise EngineError(f"train: a training process ended with code {code}; its own line above says why, and the same command goes on from there")
    return TrainingResult.model_validate_json(result.read_bytes())
