"""Nats of tokens from the hidden states before them, a few at a time: the logits of all would be the largest tensor by far."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel
from transformers.modeling_outputs import MoeModelOutputWithPast

LOGITS = 1 << 23
"""Most logits in memory at once, unless FEWEST tokens have more."""
FEWEST = 256
"""Tokens below which a product with the weights of a large vocabulary waits for these weights."""
CACHED = 1 << 20
"""Logits whose logarithm a CPU takes at once: as many as stay in its cache."""


@dataclass
class _Hidden(MoeModelOutputWithPast):
    """Hidden states, and every other field that a model may look for in what its body gives."""

    cross_attentions: tuple[torch.FloatTensor, ...] | None = None


class _Given(torch.nn.Module):
    """Stands for the body of a model: gives back the hidden states that it is handed."""

    def forward(self, *_: object, inputs_embeds: torch.Tensor, **__: object) -> _Hidden:
        return _Hidden(last_hidden_state=inputs_embeds)  # type: ignore[arg-type]


class Head:
    """What a model makes of hidden states: its own forward, with whatever it does to logits, around no body."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = copy.copy(model)
        # Beside the model, which keeps its own; the weights are shared.
        self._model._modules = {**model._modules, model.base_model_prefix: _Given()}
        vocabulary = model.config.get_text_config().vocab_size
        self._tokens = max(FEWEST, LOGITS // vocabulary)
        self._reduced = max(1, CACHED // vocabulary) if model.device.type == "cpu" else self._tokens

    def nats(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(tokens,), float32: -ln p of each target after its hidden state."""
        parts = zip(torch.split(hidden, self._tokens), torch.split(targets, self._tokens), strict=True)
        return torch.cat([nats for states, ids in parts for nats in self._nats(states, ids)])

    def _nats(self, hidden: torch.Tensor, targets: torch.Tensor) -> list[torch.Tensor]:
        logits: torch.Tensor = self._model(inputs_embeds=hidden[None], use_cache=False).logits[0]
        parts = zip(torch.split(logits, self._reduced), torch.split(targets, self._reduced), strict=True)
        return [cross_entropy(rows.float(), ids, reduction="none") for rows, ids in parts]
