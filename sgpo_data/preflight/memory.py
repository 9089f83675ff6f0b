"""Checks of the device's memory: what generation and training take, by arithmetic that is printed."""

from collections.abc import Iterator, Mapping

from sgpo_data.engines.loading import WeightsLoading
from sgpo_data.execution import Execution
from sgpo_data.preflight.check import Bound, Check
from sgpo_data.training.job import TrainJob
from sgpo_data.training.memory import BYTES, Size, job_bytes, training_devices

GIB = 2**30
ROOM = Bound(warn=0.8, fail=1.0, least=False)
"""Shares of the device's memory: allocators leave holes, and kernels take room of their own."""


def generation_bytes(size: Size, loading: WeightsLoading, execution: Execution) -> dict[str, int]:
    """Bytes of generation: the weights, a cache of batch_tokens, and the logits of the rows in flight in float32."""
    width, context = BYTES.get(loading.dtype, 4), loading.context_tokens or execution.batch_tokens
    rows = max(1, min(execution.window, execution.batch_tokens // max(1, min(context, execution.batch_tokens))))
    return {
        "weights": size.weights * width,
        "cache": max(execution.batch_tokens, context) * size.layers * size.key_values * width,
        "logits": rows * size.vocabulary * 4 * 2,
    }


def memory_check(name: str, parts: Mapping[str, int], device: int, advice: str) -> Check:
    """Whether what is needed fits the device."""
    need = sum(parts.values())
    listed = ", ".join(f"{part} {_gib(size)}" for part, size in parts.items() if size)
    value = f"{_gib(need)} of {_gib(device)} GiB"
    return Check(name, ROOM.verdict(need / device if device else 2.0), value, ROOM.text(percent=True), f"{listed}; {advice}", need / GIB)


def device_bytes(execution: Execution, asked: float | None) -> int:
    """Memory of the device in bytes: what was told, else that of the GPU that would be used, else that of this machine."""
    if asked is not None:
        return round(asked * GIB)
    import psutil
    import torch

    if execution.device != "cpu" and torch.cuda.is_available():
        device = torch.device("cuda" if execution.device == "auto" else execution.device)
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def memory_checks(size: Size, loading: WeightsLoading | None, trainings: Mapping[str, TrainJob], execution: Execution, asked: float | None) -> Iterator[Check]:
    """Of generation, and of each training by its phase; a device that is only told of is taken for a GPU."""
    device = device_bytes(execution, asked)
    if loading is not None:
        advice = "lower --batch-tokens, take dtype bfloat16 or a smaller model"
        yield memory_check("memory generate", generation_bytes(size, loading, execution), device, advice)
    devices = training_devices(execution, gpu=None if asked is None else True)
    for phase, job in trainings.items():
        advice = "train with lora.rank or --sharding fsdp, set train.gradient_checkpointing or precompute_ref_log_probs, lower train.max_tokens"
        yield memory_check(f"memory train ({phase})", job_bytes(job, size, devices), device, advice)


def _gib(size: int) -> str:
    return f"{size / GIB:.2f}" if size >= GIB / 100 else f"{size / GIB:.1g}"
