"""Checks of the device's memory: what generation and training take, by arithmetic that is printed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sgpo_data.engines.loading import WeightsLoading
from sgpo_data.execution import Execution
from sgpo_data.preflight.check import Bound, Check
from sgpo_data.training.options import Train

GIB = 2**30
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
ROOM = Bound(warn=0.8, fail=1.0, least=False)
"""Shares of the device's memory: allocators leave holes, and kernels take room of their own."""


@dataclass(frozen=True)
class Size:
    """What of a model decides its memory."""

    weights: int
    layers: int
    hidden: int
    heads: int
    key_values: int
    """Numbers that one token leaves in the cache of one layer."""
    vocabulary: int
    adapted: int
    """Sum of inputs and outputs over all linear layers but the head: a LoRA adapter has that many weights for each rank."""


def model_size(folder: Path) -> Size:
    """The size that config.json tells; no weight is read."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
    text = config.get_text_config()
    heads = text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    pairs = getattr(text, "num_key_value_heads", None) or heads
    head = model.get_output_embeddings()
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head]
    return Size(
        weights=sum(weight.numel() for weight in model.parameters()),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        heads=heads,
        key_values=2 * pairs * width,
        vocabulary=text.vocab_size,
        adapted=sum(module.in_features + module.out_features for module in linear),
    )


def generation_bytes(size: Size, loading: WeightsLoading, execution: Execution) -> dict[str, int]:
    """Bytes of generation: the weights, a cache of batch_tokens, and the logits of the rows in flight in float32."""
    width, context = BYTES.get(loading.dtype, 4), loading.context_tokens or execution.batch_tokens
    rows = max(1, min(execution.window, execution.batch_tokens // max(1, min(context, execution.batch_tokens))))
    return {
        "weights": size.weights * width,
        "cache": max(execution.batch_tokens, context) * size.layers * size.key_values * width,
        "logits": rows * size.vocabulary * 4 * 2,
    }


def training_bytes(size: Size, train: Train, longest: int, execution: Execution, *, reference: bool, checkpointing: bool) -> dict[str, int]:
    """Bytes of an optimizer step, the weights in float32: with LoRA only the adapter has gradients and moments, and the reference is the start itself.

    Activations are arXiv 2205.05198, eq. 1 and table 2, in bytes of 16 bits, doubled for float32: s b h (34 + 5 a s / h) of each layer, or 2 s b h with
    gradient checkpointing and one layer whole. Logits are held three times: as they are, as log-probabilities and as gradients.
    """
    answers = len(train.needs.answers)
    rows = max(1, min(train.batch_rows, execution.batch_tokens // (longest * answers))) * answers
    trained = size.adapted * train.lora.rank if train.lora.rank else size.weights
    layer = longest * rows * size.hidden * (34 + 5 * size.heads * longest / size.hidden) * 2
    kept = longest * rows * size.hidden * 2 * 2
    return {
        "weights": size.weights * 4 + (trained * 4 if train.lora.rank else 0),
        "gradients": trained * 4,
        "optimizer": trained * 8,
        "reference": size.weights * 4 if reference and not train.lora.rank else 0,
        "activations": round(kept * size.layers + layer if checkpointing else layer * size.layers),
        "logits": longest * rows * size.vocabulary * 4 * 3,
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


def on_gpu(execution: Execution, asked: float | None) -> bool:
    """Whether the device is a GPU, on which training checkpoints its gradients; a device that is only told of is taken for one."""
    import torch

    return asked is not None or (execution.device != "cpu" and torch.cuda.is_available())


def memory_checks(
    size: Size, loading: WeightsLoading | None, trainings: Mapping[str, tuple[Train, bool]], execution: Execution, asked: float | None, *, longest: int
) -> Iterator[Check]:
    """Of generation, and of each training by its phase; `longest` is what a row has at most in the model's context."""
    device, gpu = device_bytes(execution, asked), on_gpu(execution, asked)
    if loading is not None:
        advice = "lower --batch-tokens, take dtype bfloat16 or a smaller model"
        yield memory_check("memory generate", generation_bytes(size, loading, execution), device, advice)
    for phase, (train, reference) in trainings.items():
        parts = training_bytes(size, train, min(longest, train.max_tokens), execution, reference=reference, checkpointing=gpu)
        advice = "train with lora.rank, lower --batch-tokens or train.max_tokens, or take a larger device"
        yield memory_check(f"memory train ({phase})", parts, device, advice)


def _gib(size: int) -> str:
    return f"{size / GIB:.2f}" if size >= GIB / 100 else f"{size / GIB:.1g}"
