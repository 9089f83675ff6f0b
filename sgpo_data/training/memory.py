"""The memory of a training, by arithmetic: what each device holds at the moment when it holds most."""

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from sgpo_data.execution import Execution
from sgpo_data.training.job import TrainJob
from sgpo_data.training.options import Train
from sgpo_data.training.settings import rows_at_once

if TYPE_CHECKING:
    import torch

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
TILE = (4096, 32768)
"""Tokens and words of the vocabulary whose logits are computed at once. huggingface/trl@v1.16.0, trl/kernels/chunked_logprob.py and trainer/utils.py"""
TILES = 4
"""Tiles in float32 that one is computed in, gradients among them."""
UNITS = 3
"""Of what is gathered whole where weights are shared out: what is computed, its gradient, and what comes next."""


@dataclass(frozen=True)
class Size:
    """What of a model decides its memory."""

    weights: int
    layers: int
    hidden: int
    intermediate: int
    """Width inside of a feed-forward layer."""
    heads: int
    head_width: int
    key_values: int
    """Numbers that one token leaves in the cache of one layer."""
    vocabulary: int
    adapted: int
    """Sum of inputs and outputs over all linear layers but the head: a LoRA adapter has that many weights for each rank."""

    unit: int
    """Weights of the largest part that is gathered whole where weights are shared out: a layer, or the embeddings."""


@dataclass(frozen=True)
class Devices:
    """What a training runs on."""

    count: int
    shared: bool
    """Whether they share weights, gradients and optimizer out, in place of a copy on each."""
    batch_tokens: int
    gpu: bool


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
    layers = [layer for listed in model.modules() if isinstance(listed, torch.nn.ModuleList) for layer in listed]
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head]
    return Size(
        weights=_weights(model),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        heads=heads,
        head_width=width,
        key_values=2 * pairs * width,
        vocabulary=text.vocab_size,
        adapted=sum(module.in_features + module.out_features for module in linear),
        unit=max(text.vocab_size * text.hidden_size, *map(_weights, layers)),
    )


def _weights(module: "torch.nn.Module") -> int:
    return sum(weight.numel() for weight in module.parameters())


def training_devices(execution: Execution, *, gpu: bool | None = None) -> Devices:
    """The GPUs that would train, or as many devices as --data-parallel says where there is none and they share; `gpu` says what kind they are taken for."""
    import torch

    here = 0 if execution.device == "cpu" else torch.cuda.device_count()
    shares = execution.sharding != "none"
    count = 1 if execution.device.startswith("cuda") else here or (execution.data_parallel if shares else 1)
    return Devices(count, shared=shares and count > 1, batch_tokens=execution.batch_tokens, gpu=bool(here) if gpu is None else gpu)


def job_bytes(job: TrainJob, size: Size, devices: Devices) -> dict[str, int]:
    """Bytes on each device in a training of this start, rows all as long as they may be."""
    other = job.reference is not None and job.reference.record.identity != job.start.record.identity
    held = job.reference is not None and (other or not job.train.lora.rank)
    return training_bytes(size, job.train, job.longest, devices, reference=held)


def operations(size: Size, train: Train, longest: int, devices: Devices) -> float:
    """Floating-point operations of training on one row of the longest, attention left out.

    Two for each weight and token of a forward pass, as many for gradients of what is computed and for gradients of weights: arXiv 2001.08361, table 1.
    """
    forward = 2.0 * size.weights * longest * len(train.needs.answers)
    passes = (2 if train.lora.rank else 3) + (1 if train.needs.compares else 0) + (1 if _recomputed(train, devices) else 0)
    return forward * passes


def training_bytes(size: Size, train: Train, longest: int, devices: Devices, *, reference: bool) -> dict[str, int]:
    """Bytes on each device when it holds most, by what they are for; `train` with its types settled, rows all of the longest.

    With LoRA only the adapter has gradients and states, and the reference is the start itself unless it is another model, which `reference` says.
    What is computed is held twice nowhere but in the step itself: gradients as float32 for weights of 16 bits, when activations are gone.
    """
    parts = _kept_bytes(size, train, devices, reference=reference)
    tokens = longest * len(train.needs.answers) * rows_at_once(train, longest, batch_tokens=devices.batch_tokens, devices=devices.count)
    parts["activations"] = _activation_bytes(size, train, tokens, longest, devices)
    parts["logits"] = _logit_bytes(size, train, tokens)
    copied = train.dtype == "bfloat16" and train.optimizer_dtype == "float32" and not train.lora.rank and not devices.shared
    parts["step"] = max(0, (4 * size.weights if copied else 0) - parts["activations"] - parts["logits"])
    return parts


def _kept_bytes(size: Size, train: Train, devices: Devices, *, reference: bool) -> dict[str, int]:
    """What is held from one step to the next."""
    width, share = BYTES[train.dtype], devices.count if devices.shared else 1
    adapter = size.adapted * train.lora.rank
    in_float32 = train.optimizer_dtype == "float32"
    if adapter:
        # peft keeps an adapter in float32 over weights of 16 bits.
        weights, trained, own, state = size.weights * width + adapter * 4, adapter, 4, 8
    elif devices.shared and in_float32:
        weights, trained, own, state = size.weights * 4, size.weights, 4, 8
    else:
        weights, trained, own, state = size.weights * width, size.weights, width, (8 + (4 if width == 2 else 0)) if in_float32 else 2 * width
    held = size.weights * width if reference and not train.precompute_ref_log_probs else 0
    return {
        "weights": ceil(weights / share),
        "gradients": ceil(trained * own / share),
        "optimizer": ceil(trained * state / share),
        "reference": ceil(held / share),
        "gathered": UNITS * size.unit * width if devices.shared else 0,
    }


def _activation_bytes(size: Size, train: Train, tokens: int, longest: int, devices: Devices) -> int:
    """What the backward pass reads, of a decoder with normalized inputs, rotary attention and a gated feed-forward; one layer whole where it is computed again.

    Of each layer: both norms keep their input in float32, what it came to and what they put out; attention its queries, its answer twice, keys and values;
    the feed-forward its gate, that gate's activation, the other half and their product.
    """
    width = BYTES[train.dtype]
    norms = 2 * size.hidden * (4 + 2 * width)
    attention = (3 * size.heads * size.head_width + size.key_values) * width
    scores = size.heads * longest * (4 + width) if train.attn_implementation == "eager" else 0
    layer = tokens * (norms + attention + scores + 4 * size.intermediate * width)
    return size.layers * tokens * size.hidden * width + layer if _recomputed(train, devices) else size.layers * layer


def _recomputed(train: Train, devices: Devices) -> bool:
    return devices.gpu if train.gradient_checkpointing is None else train.gradient_checkpointing


def _logit_bytes(size: Size, train: Train, tokens: int) -> int:
    """TRL computes them in tiles; where the head trains, its gradient is summed in float32."""
    tile = min(tokens, TILE[0]) * min(size.vocabulary, TILE[1]) * 4 * TILES
    return tile + (0 if train.lora.rank else size.vocabulary * size.hidden * 4)
