"""An experiment tracker where one is asked for: wandb, trackio or TensorBoard, with keys from the environment variables that each of them reads."""

import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from sgpo_data.errors import MissingExtraError, first_line
from sgpo_data.execution import Execution

log = logging.getLogger(__name__)

NONE, TENSORBOARD = "none", "tensorboard"


def check_tracker(execution: Execution) -> None:
    """Raises MissingExtraError if the tracker that is asked for is not installed."""
    if execution.report_to != NONE and find_spec(execution.report_to) is None:
        raise MissingExtraError(execution.report_to, execution.report_to)


def tensorboard_folder(execution: Execution, name: str) -> Path:
    """Where TensorBoard finds what is told of a run of this name."""
    return execution.root / TENSORBOARD / execution.project / name


def track(execution: Execution, name: str, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
    """Tells the tracker these numbers, each at its step, as a run of this name; nothing if none is asked for.

    What was made stands without it: a tracker that fails is a warning.
    """
    if execution.report_to == NONE or not points:
        return
    try:
        if execution.report_to == TENSORBOARD:
            _to_tensorboard(tensorboard_folder(execution, name), points)
        else:
            _to_server(execution, name, points)
    except Exception as error:
        log.warning("%s: %s was not told: %s", execution.report_to, name, first_line(error))


def _to_tensorboard(folder: Path, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(log_dir=str(folder))
    for step, numbers in points:
        for key, value in numbers.items():
            writer.add_scalar(key, value, step)
    writer.close()


def _to_server(execution: Execution, name: str, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
    tracker = import_module(execution.report_to)
    tracker.init(project=execution.project, name=name)
    for step, numbers in points:
        tracker.log(dict(numbers), step=step)
    tracker.finish()
