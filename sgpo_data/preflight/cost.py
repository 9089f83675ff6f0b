"""What the whole run will cost: disk, tokens and time, from what the sample has cost."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from sgpo_data.execution import Execution
from sgpo_data.loop.estimate import Estimate, estimates
from sgpo_data.loop.plan import Step
from sgpo_data.preflight.check import Bound, Check
from sgpo_data.training.job import TrainJob

DISK = Bound(warn=0.8, fail=1.0, least=False)
CHECKPOINT_BYTES = 14
"""Of each weight in a checkpoint, of which one is kept: at most the weight in 16 bits and, in float32, its copy and two moments."""
SCORED_PASSES = 3.0
"""A training step in forward passes: one forward, and one backward of twice its work."""


def cost_checks(steps: Sequence[Step], execution: Execution, *, weights: int, width: int) -> Iterator[Check]:
    """Lines of disk, tokens and time; a training that has no like in this root is told from the speed of scoring the sample."""
    found = estimates(steps, execution.store)
    left = [each for each in found if each.state != "made"]
    trained = [each for each in left if isinstance(each.step.job, TrainJob)]
    size = sum(each.bytes or 0 for each in left if each not in trained)
    models = sum(each.bytes or weights * width for each in trained) + (weights * CHECKPOINT_BYTES if trained else 0)
    yield _disk(size + models, execution.root)
    yield Check("tokens", "pass", f"about {sum(each.tokens or 0 for each in left):,} in {len(left)} of {len(found)} steps to be made")
    yield _time(left)


def _disk(need: int, root: Path) -> Check:
    place = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    value = f"{need / 1e9:.2g} of {free / 1e9:.2g} GB free"
    return Check("disk", DISK.verdict(need / free if free else 2.0), value, DISK.text(percent=True), "choose another --root, or: sgpo gc", need / 1e9)


def _time(left: Sequence[Estimate]) -> Check:
    speed = _scored_tokens_per_second(left)
    seconds, unknown, told = 0.0, [], False
    for each in left:
        own = each.seconds
        if own is None and isinstance(each.step.job, TrainJob) and speed and each.rows is not None:
            own, told = _trained_seconds(each, speed[0], speed[1]), True
        if own is None:
            unknown.append(f"{each.step.phase} {each.step.stage}")
        else:
            seconds += own
    value = f"about {seconds / 60:.1f} min" + (", training told from scoring" if told else "")
    advice = f"not in it, since nothing of the kind was made in this root: {', '.join(unknown)}" if unknown else ""
    return Check("time", "warn" if unknown else "pass", value, "", advice, seconds)


def _scored_tokens_per_second(left: Sequence[Estimate]) -> tuple[float, float] | None:
    """Of the estimates of scoring, and tokens of each row."""
    scoring = [each for each in left if each.step.stage == "score-ppl" and each.seconds and each.tokens and each.rows]
    tokens, rows = sum(each.tokens or 0 for each in scoring), sum(each.rows or 0 for each in scoring)
    seconds = sum(each.seconds or 0 for each in scoring)
    return (tokens / seconds, tokens / rows) if seconds and rows else None


def _trained_seconds(each: Estimate, tokens_per_second: float, tokens_per_row: float) -> float:
    assert isinstance(each.step.job, TrainJob)
    train = each.step.job.train
    passes = SCORED_PASSES + (1.0 if train.needs.compares else 0.0)
    return (each.rows or 0) * train.epochs * tokens_per_row * passes / tokens_per_second
