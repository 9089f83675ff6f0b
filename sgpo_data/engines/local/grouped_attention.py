"""Attention of one token a row, where several heads share their keys: these are read once, and not copied for every head."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sgpo_grouped"
"""What models call this attention by."""


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    **others: object,
) -> tuple[torch.Tensor, None]:
    """An attention function of transformers: that of its sdpa, in fewer copies for one token a row.

    (rows, heads, tokens, dimensions) in, (rows, tokens, heads, dimensions) out. Heads that share keys see the same, as the tokens of one sequence would.
    """
    rows, heads, tokens, dimensions = query.shape
    shared = key.shape[1]
    alike = attention_mask is None or attention_mask.shape[1] == 1
    if tokens > 1 or heads == shared or not alike or any(others.get(name) is not None for name in ("position_bias", "cache")):
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **cast("dict[str, Any]", others))
    groups = heads // shared
    mask = None if attention_mask is None else attention_mask.expand(-1, -1, groups, -1)
    output = scaled_dot_product_attention(query.reshape(rows, shared, groups, dimensions), key, value, attn_mask=mask, scale=scaling)
    return output.reshape(rows, 1, heads, value.shape[3]), None


AttentionInterface.register(NAME, grouped_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
