"""The toy model: a Llama of 0.8 million weights, trained here, shipped as package data, written as a model folder."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from importlib.resources import as_file, files
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sgpo_data.toy.corpus import pretraining
from sgpo_data.toy.tokenizer import CONTEXT, new_tokenizer, shipped_tokenizer

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

log = logging.getLogger(__name__)

SHIPPED = files("sgpo_data.toy") / "base"
EXAMPLES = 100_000
"""How many texts the base model is trained on, each once."""


@dataclass(frozen=True)
class ModelShape:
    """The size of a Llama with four heads of 32 dimensions and tied embeddings."""

    hidden: int
    layers: int


BASE = ModelShape(hidden=128, layers=4)
TINY = ModelShape(hidden=32, layers=2)


def base_model(folder: Path) -> Path:
    """The shipped base model as a model folder, the same bytes every time; float32, from float16 in the package."""
    import torch
    from safetensors.torch import load

    tokenizer = shipped_tokenizer()
    model = _new_model(tokenizer, BASE, seed=0)
    weights = load(SHIPPED.joinpath("model.safetensors").read_bytes())
    model.load_state_dict({name: weight.to(torch.float32) for name, weight in weights.items()}, strict=False)
    model.tie_weights()
    return _write_folder(folder, model, tokenizer)


def tiny_model(folder: Path, seed: int = 0) -> Path:
    """A model folder with random weights, the same for the same seed: for tests that need a model, no matter which."""
    tokenizer = shipped_tokenizer()
    return _write_folder(folder, _new_model(tokenizer, TINY, seed=seed), tokenizer)


def train_base(folder: Path, seed: int = 0) -> Path:
    """The base model made from nothing: a tokenizer, new weights, each text of the corpus once."""
    from sgpo_data.toy.train import batches, fit, ready_to_copy

    tokenizer = new_tokenizer()
    model = _new_model(tokenizer, BASE, seed=seed)
    ready_to_copy(model, seed=seed)
    data = list(batches(islice(pretraining(seed), EXAMPLES), tokenizer, seed=seed))
    window: deque[float] = deque(maxlen=100)
    for step, loss in enumerate(fit(model, data), 1):
        window.append(loss)
        if step % 100 == 0 or step == len(data):
            log.info("step %d of %d: %.3f nats per answer token", step, len(data), sum(window) / len(window))
    return _write_folder(folder, model, tokenizer)


def ship(folder: Path) -> Path:
    """The package's copy of a trained base model: its weights in float16 and its tokenizer.

    Later calls of `base_model` and `tiny_model` start from it.
    """
    import torch
    from safetensors.torch import load_file, save_file

    weights = {name: weight.to(torch.float16) for name, weight in load_file(folder / "model.safetensors").items()}
    with as_file(SHIPPED) as shipped:
        shipped.mkdir(exist_ok=True)
        save_file(weights, shipped / "model.safetensors", metadata={"format": "pt"})
        (shipped / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
        return shipped


def _new_model(tokenizer: PreTrainedTokenizerFast, shape: ModelShape, *, seed: int) -> LlamaForCausalLM:
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.hidden * 2,
        num_hidden_layers=shape.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        # The usual 0.02 is for wide models: here attention would start so flat that copying is learned late or never.
        initializer_range=0.08,
        attention_bias=True,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True,
        temperature=0.7,
        top_p=0.9,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


def _write_folder(folder: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Path:
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
