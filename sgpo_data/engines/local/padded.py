"""Likelihood of answers in padded rows, each with a prompt of its own: for models that know no other way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from sgpo_data.engines.local import trees
from sgpo_data.engines.local.trees import Tree


class Padded:
    """Scores trees of one answer with any model, through its plain forward."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model

    def batches(self, waiting: Sequence[Tree], budget: int) -> list[list[Tree]]:
        """What is computed at once."""
        return trees.padded(waiting, budget)

    @torch.inference_mode()
    def nats(self, batch: Sequence[Tree]) -> torch.Tensor:
        """(answers,), float64: summed over each answer, in their order."""
        device = self._model.device
        rows = [(tree.prompt + ids, len(ids)) for tree in batch for _, ids in tree.answers]
        # The last token is only ever predicted, so it is not fed.
        width = max(len(ids) for ids, _ in rows) - 1
        padding = torch.tensor([width + 1 - len(ids) for ids, _ in rows], device=device)
        columns = torch.arange(width, device=device)
        logits = self._model(
            input_ids=torch.tensor([[0] * (width + 1 - len(ids)) + ids[:-1] for ids, _ in rows], device=device),
            attention_mask=(columns >= padding[:, None]).long(),
            position_ids=(columns - padding[:, None]).clamp(min=0),
            use_cache=False,
            logits_to_keep=max(count for _, count in rows),
        ).logits
        sums = []
        for (ids, count), row in zip(rows, logits, strict=True):
            # Row by row, since a float32 copy of all logits would be the largest tensor by far.
            own = row[-count:].float()
            targets = torch.tensor(ids[-count:], device=device)
            sums.append((own.logsumexp(dim=-1) - own.gather(-1, targets[:, None])[:, 0]).sum(dtype=torch.float64))
        return torch.stack(sums)
