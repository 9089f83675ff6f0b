"""The toy model: a Llama of a million weights, trained here, shipped as package data, written as a model folder."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sgpo_data.rows import Message
from sgpo_data.toy.corpus import pretraining
from sgpo_data.toy.tokenizer import CONTEXT, new_tokenizer, shipped_tokenizer

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

SHIPPED = files("sgpo_data.toy") / "base"
EXAMPLES = 64_000
"""How many texts the base model is trained on, each once."""


@dataclass(frozen=True)
class Shape:
    """The size of a Llama with four heads of 32 dimensions and tied embeddings."""

    hidden: int
    layers: int


BASE = Shape(hidden=64, layers=3)
TINY = Shape(hidden=32, layers=2)


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
    """The base model made from nothing: a tokenizer, random weights, one epoch of TRL's SFT over the corpus."""
    from datasets import Dataset  # type: ignore[import-untyped]
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    tokenizer = new_tokenizer()
    model = _new_model(tokenizer, BASE, seed=seed)
    rows = [
        {"prompt": example.prompt, "completion": [Message(role="assistant", content=example.completion)]} for example in islice(pretraining(seed), EXAMPLES)
    ]
    with TemporaryDirectory() as scratch:
        settings = SFTConfig(
            output_dir=scratch,
            num_train_epochs=1,
            per_device_train_batch_size=32,
            learning_rate=5e-3,
            lr_scheduler_type="cosine",
            warmup_steps=100,
            weight_decay=0.01,
            max_length=CONTEXT,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            train_sampling_strategy="group_by_length",
            dataloader_pin_memory=False,
            save_strategy="no",
            report_to="none",
            logging_steps=50,
            seed=seed,
        )
        SFTTrainer(model=model, args=settings, train_dataset=Dataset.from_list(rows), processing_class=tokenizer).train()
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


def _new_model(tokenizer: PreTrainedTokenizerFast, shape: Shape, *, seed: int) -> LlamaForCausalLM:
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.hidden * 3,
        num_hidden_layers=shape.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        # The usual 0.02 is for wide models: here attention would start so flat that copying is learned late or never.
        initializer_range=0.08,
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
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
