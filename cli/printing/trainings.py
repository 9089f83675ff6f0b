"""What each training of a plan takes of its devices, by arithmetic."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sgpo_data.execution import Execution

if TYPE_CHECKING:
    from pathlib import Path

    from sgpo_data.loop.plan import Step
    from sgpo_data.training.job import TrainJob
    from sgpo_data.training.memory import Devices, Size

GB = 1e9
MINUTE = 60
SPEED = 4e14
"""Operations per second of one device, for the time of a training that has no like here: two fifths of what an H100 does at most in bfloat16."""


def training_memory(steps: "Sequence[Step]", execution: Execution) -> "Iterator[tuple[Step, dict[str, int], float]]":
    """Each training that is still to be made, with bytes on each device by what they are for, and seconds for a thousand of its longest rows."""
    from sgpo_data.store.state import state
    from sgpo_data.training.job import TrainJob
    from sgpo_data.training.memory import job_bytes, model_size, training_devices

    sizes: dict[Path, Size] = {}
    for step in steps:
        job = step.job
        if not isinstance(job, TrainJob) or state(step.folder) == "made":
            continue
        if job.start.config not in sizes:
            sizes[job.start.config] = model_size(job.start.config)
        size, devices = sizes[job.start.config], training_devices(execution)
        yield step, job_bytes(job, size, devices), _seconds(job, size, devices)


def format_trainings(steps: "Sequence[Step]", execution: Execution) -> Iterator[str]:
    """A line for each of them, equal ones once, and what kind of numbers these are."""
    from sgpo_data.training.memory import training_devices

    lines: dict[str, None] = {}
    here = training_devices(execution).gpu
    for step, parts, seconds in training_memory(steps, execution):
        listed = ", ".join(f"{part} {size / GB:.1f}" for part, size in parts.items() if size >= GB / 20)
        need = f"{sum(parts.values()) / GB:.1f} GB on each device" + (f" ({listed})" if listed else "")
        lines[f"{step.phase} train: {need}; {_at_most(seconds)} for 1,000 rows of {_longest(step)} tokens{'' if here else ' on a GPU'}"] = None
    yield from lines
    if lines:
        yield f"by arithmetic, nothing of it is measured; a GPU is taken to do {SPEED / 1e12:.0f} TFLOP/s{'' if here else ', and there is none here'}"


def _at_most(seconds: float) -> str:
    if seconds < 1:
        return "less than a second"
    return f"at most {seconds:.0f} s" if seconds < MINUTE else f"at most {seconds / MINUTE:.1f} min"


def _longest(step: "Step") -> int:
    from sgpo_data.training.job import TrainJob

    assert isinstance(step.job, TrainJob)
    return step.job.longest


def _seconds(job: "TrainJob", size: "Size", devices: "Devices") -> float:
    from sgpo_data.training.memory import operations

    return 1000 * operations(size, job.train, job.longest, devices) / SPEED / devices.count
