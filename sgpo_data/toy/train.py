"""The training of the base model, as a plain loop in PyTorch: pretraining text by text, without the chat trainer's bookkeeping."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch

from sgpo_data.toy.corpus import Example

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

BATCH_TOKENS = 2048
POOL = 4096
"""Texts that are sorted by length together, so that little of a batch is padding."""
PEAK_RATE = 3e-3
WARMUP = 50


@dataclass(frozen=True)
class Batch:
    """Texts of about one length, padded on the right."""

    tokens: torch.Tensor
    wanted: torch.Tensor
    """True where the next token belongs to an answer."""


def batches(examples: Iterable[Example], tokenizer: PreTrainedTokenizerFast, *, seed: int) -> Iterator[Batch]:
    """All examples, each once, about `BATCH_TOKENS` tokens at a time."""
    rng = random.Random(seed)
    texts = (_tokens(example, tokenizer) for example in examples)
    while pool := sorted(islice(texts, POOL), key=lambda text: len(text[0])):
        parts: list[list[tuple[list[int], int]]] = [[]]
        for text in pool:
            if len(text[0]) * (len(parts[-1]) + 1) > BATCH_TOKENS:
                parts.append([])
            parts[-1].append(text)
        rng.shuffle(parts)
        yield from (_padded(part, tokenizer.pad_token_id) for part in parts)


def ready_to_copy(model: LlamaForCausalLM, *, seed: int) -> None:
    """Start with an induction head (arXiv 2209.11895), which looks for what followed the token at hand when it last stood there, and repeats it.

    From plain random weights a model this small takes more texts to find out how to copy than all else it learns.
    """
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    width, half = first.config.head_dim, first.config.head_dim // 2
    basis, _ = torch.linalg.qr(torch.randn(model.config.hidden_size, model.config.hidden_size, generator=torch.Generator().manual_seed(seed)))
    seen, told = basis[:width], basis[width : 2 * width]
    # Rotary positions turn each pair of dimensions by its angle per token: a query turned one token back meets the key before it.
    angles = first.config.rope_parameters["rope_theta"] ** -(torch.arange(half) / half)
    # Only pairs that hardly turn within a prompt can match by content.
    slow = (angles < 0.02).float().repeat(2).unsqueeze(1)
    with torch.no_grad():
        for projection, bias in ((first.q_proj, torch.cat([angles.cos(), -angles.sin()])), (first.k_proj, torch.ones(half))):
            projection.weight[:width] = 0
            projection.bias[: len(bias)] = 6 * bias
        first.v_proj.weight[:width], first.o_proj.weight[:, :width] = seen, 0.1 * told.T
        for head in (slice(0, width), slice(width, 2 * width)):
            second.q_proj.weight[head], second.k_proj.weight[head] = 1.5 * slow * seen, 1.5 * slow * told
        copied = basis[: 2 * width]
        second.v_proj.weight[: 2 * width], second.o_proj.weight[:, : 2 * width] = copied, 0.2 * copied.T
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[:, 2 * width :] *= 0.1
            layer.mlp.down_proj.weight.mul_(0.1)


def fit(model: LlamaForCausalLM, data: list[Batch]) -> Iterator[float]:
    """Train the model once over the batches with AdamW and a cosine; gives the loss of each step, in nats per answer token."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=WARMUP)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, len(data) - WARMUP), eta_min=PEAK_RATE / 100)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, decay], [WARMUP])
    model.train()
    for batch in data:
        # Padding stands on the right, where a causal model never looks: no attention mask, and the fast kernel.
        hidden = model.model(input_ids=batch.tokens, use_cache=False).last_hidden_state
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[batch.wanted]), batch.tokens.roll(-1, dims=1)[batch.wanted])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        yield loss.item()


def _tokens(example: Example, tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], int]:
    """All tokens up to the end of the answer, and how many of them are the prompt."""
    turns = [{"role": message["role"], "content": message["content"]} for message in example.prompt]
    prompt: list[int] = tokenizer(str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)))["input_ids"]
    answer: list[int] = tokenizer(example.completion)["input_ids"]
    return [*prompt, *answer, int(tokenizer.eos_token_id)], len(prompt)


def _padded(texts: list[tuple[list[int], int]], pad: int) -> Batch:
    longest = max(len(tokens) for tokens, _ in texts)
    tokens = torch.tensor([text + [pad] * (longest - len(text)) for text, _ in texts])
    place = torch.arange(longest)
    first = torch.tensor([[prompt - 1] for _, prompt in texts])
    last = torch.tensor([[len(text) - 2] for text, _ in texts])
    return Batch(tokens=tokens, wanted=(place >= first) & (place <= last))
