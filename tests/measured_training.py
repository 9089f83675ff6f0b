"""A process that trains a model of a folder by the real code and prints the most memory that this took, in bytes, beyond what libraries take."""

import gc
import sys
from pathlib import Path
from typing import NoReturn

from sgpo_data.training import trl
from sgpo_data.training.task import TrainingTask


class TrainedError(Exception):
    """The steps are done, and what follows is not measured."""


def stop(*_: object) -> NoReturn:
    raise TrainedError


def train(task: str) -> None:
    try:
        trl.run_training(TrainingTask.model_validate_json(Path(task).read_bytes()))
    except TrainedError:
        gc.collect()


def status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


if __name__ == "__main__":
    trl._write_curves = stop  # type: ignore[assignment]
    first, measured = sys.argv[1:]
    # So that what libraries take once is there before.
    train(first)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    train(measured)
    sys.stdout.write(f"{status('VmHWM') - before}\n")
