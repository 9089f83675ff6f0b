"""Likelihood of trees laid end to end in one sequence: no padding, and each prompt computed once for all its answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import DynamicCache, PreTrainedModel

from sgpo_data.engines.local import trees
from sgpo_data.engines.local.cache import joinable
from sgpo_data.engines.local.head import Head
from sgpo_data.engines.local.tree_attention import NAME, Forest, NotPackableError, Span
from sgpo_data.engines.local.trees import Tree

CPU_TOKENS = 2048
"""With more tokens at once, unless one row has them, a CPU computes slower: they leave its cache."""


class Packed:
    """Scores trees with a model whose attention is called by name, see `AttentionInterface` of transformers."""

    def __init__(self, model: PreTrainedModel) -> None:
        cache = DynamicCache(config=model.config)
        if not joinable(cache):
            raise NotPackableError("not all of its layers are attention")
        self._windows = tuple(getattr(layer, "sliding_window", None) for layer in cache.layers)
        self._model = model
        self._head = Head(model)

    def batches(self, waiting: Sequence[Tree], budget: int) -> list[list[Tree]]:
        """What is computed at once."""
        return trees.packed(waiting, budget, enough=CPU_TOKENS if self._model.device.type == "cpu" else budget)

    @torch.inference_mode()
    def nats(self, batch: Sequence[Tree]) -> torch.Tensor:
        """(answers,), float64: summed over each answer, in their order.

        Raises NotPackableError if not every layer went through the attention that knows of trees.
        """
        device = self._model.device
        answers = [ids for tree in batch for _, ids in tree.answers]
        forest = Forest(sum(tree.tokens for tree in batch), _spans(batch), self._windows)
        with _attention(self._model, NAME):
            hidden = self._model.base_model(
                input_ids=torch.tensor([_fed(batch)], device=device),
                position_ids=torch.tensor([_positions(batch)], device=device),
                use_cache=False,
                forest=forest,
            ).last_hidden_state[0]
        if len(forest.seen) != len(self._windows):
            raise NotPackableError("not all of its layers use an attention that can be chosen")
        targets = torch.tensor([token for ids in answers for token in ids], device=device)
        nats = self._head.nats(hidden[torch.tensor(_before(batch), device=device)], targets)
        return torch.stack([part.sum(dtype=torch.float64) for part in torch.split(nats, [len(ids) for ids in answers])])


@contextmanager
def _attention(model: PreTrainedModel, name: str) -> Iterator[None]:
    usual = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)


def _spans(batch: Sequence[Tree]) -> tuple[Span, ...]:
    spans = []
    for start, tree in zip(trees.starts([tree.tokens for tree in batch]), batch, strict=True):
        end = start + len(tree.prompt)
        fed = [len(ids) - 1 for _, ids in tree.answers]
        answers = zip(trees.starts(fed), fed, strict=True)
        spans.append(Span(start, end, tuple((end + begin, end + begin + length) for begin, length in answers if length)))
    return tuple(spans)


def _fed(batch: Sequence[Tree]) -> list[int]:
    return [token for tree in batch for ids in (tree.prompt, *(ids[:-1] for _, ids in tree.answers)) for token in ids]


def _positions(batch: Sequence[Tree]) -> list[int]:
    """Every answer goes on where its prompt ends."""
    positions: list[int] = []
    for tree in batch:
        positions += range(len(tree.prompt))
        for _, ids in tree.answers:
            positions += range(len(tree.prompt), len(tree.prompt) + len(ids) - 1)
    return positions


def _before(batch: Sequence[Tree]) -> list[int]:
    """For each token of each answer, where the token before it lies: the first follows the end of the prompt."""
    before: list[int] = []
    for start, tree in zip(trees.starts([tree.tokens for tree in batch]), batch, strict=True):
        end = start + len(tree.prompt)
        begins = trees.starts([len(ids) - 1 for _, ids in tree.answers])
        for begin, (_, ids) in zip(begins, tree.answers, strict=True):
            before += [end - 1, *range(end + begin, end + begin + len(ids) - 1)]
    return before
