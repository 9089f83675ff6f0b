"""How a model's answers are scored: packed if it proves on a few tokens that it can be, else padded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import torch
from transformers import PreTrainedModel

from sgpo_data.engines.local.packed import Packed
from sgpo_data.engines.local.padded import Padded
from sgpo_data.engines.local.tree_attention import NotPackableError
from sgpo_data.engines.local.trees import Tree
from sgpo_data.errors import first_line

log = logging.getLogger(__name__)

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}
"""Nats per token by which both ways may differ."""
COARSE = 0.1
"""The same in two bytes: their rounding comes to a few hundredths, an answer that sees the wrong tokens to more."""


class Way(Protocol):
    """How the likelihood of answers is computed."""

    def batches(self, waiting: Sequence[Tree], budget: int) -> list[list[Tree]]:
        """What is computed at once."""
        ...

    def nats(self, batch: Sequence[Tree]) -> torch.Tensor:
        """(answers,), float64: summed over each answer, in their order."""
        ...


def way(model: PreTrainedModel) -> Way:
    """The fastest way that gives what the plain forward gives; says so if it is the slow one."""
    try:
        packed = Packed(model)
        _check(packed, model)
    except (NotPackableError, AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        # Whatever an architecture stumbles over, its plain forward is what it was made for.
        log.info("%s: every answer is scored with a prompt of its own, which takes longer: %s", type(model).__name__, first_line(error))
        return Padded(model)
    return packed


def _check(packed: Packed, model: PreTrainedModel) -> None:
    vocabulary = model.config.get_text_config().vocab_size
    probe = [Tree(0, False, _ids(5, 19, vocabulary), tuple((place, _ids(place, 9 - 4 * place, vocabulary)) for place in range(3)))]
    probe.append(Tree(1, False, _ids(6, 7, vocabulary), ((0, _ids(7, 12, vocabulary)), (1, _ids(8, 12, vocabulary)))))
    single = [one for tree in probe for one in tree.single()]
    tokens = torch.tensor([len(ids) for one in single for _, ids in one.answers], device=model.device)
    plain = torch.cat([Padded(model).nats([one]) for one in single])
    difference = float(((packed.nats(probe) - plain).abs() / tokens).max())
    # A model whose logits are not finite either way is left to the scoring, which says so.
    if bool(plain.isfinite().all()) and not difference <= TOLERANCE.get(model.dtype, COARSE):
        raise NotPackableError(f"packed, a probe comes out {difference:.2g} nats per token apart")


def _ids(start: int, count: int, vocabulary: int) -> list[int]:
    """Ids from all over the vocabulary, always the same."""
    return [(start * 7919 + place * 104729) % vocabulary for place in range(count)]
