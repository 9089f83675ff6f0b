"""Rows of a key-value cache that leave and join while it is in use."""

from __future__ import annotations

import torch
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer


def joinable(cache: DynamicCache) -> bool:
    """Whether the cache holds plain keys and values only; rows can leave any cache, but join only such a one."""
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers)


def narrow(cache: DynamicCache, width: int) -> None:
    """Drops the oldest columns of a joinable cache beyond the last `width`: those that are padding in every row."""
    for layer in cache.layers:
        keys, values = _states(layer)
        _replace(layer, keys[:, :, -width:], values[:, :, -width:], width)


def join(cache: DynamicCache, other: DynamicCache, *, width: int) -> None:
    """Appends the rows of `other`; both end in the same column, the shorter one is padded on the left to `width`, the larger of both."""
    for layer, joining in zip(cache.layers, other.layers, strict=True):
        keys, values = (_stacked(*states) for states in zip(_states(layer), _states(joining), strict=True))
        _replace(layer, keys, values, width)


def _stacked(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    width = max(above.shape[2], below.shape[2])
    return torch.cat([pad(states, (0, 0, width - states.shape[2], 0)) for states in (above, below)])


def _states(layer: object) -> tuple[torch.Tensor, torch.Tensor]:
    assert isinstance(layer, DynamicLayer)
    assert layer.keys is not None
    assert layer.values is not None
    return layer.keys, layer.values


def _replace(layer: object, keys: torch.Tensor, values: torch.Tensor, width: int) -> None:
    assert isinstance(layer, DynamicLayer)
    layer.keys, layer.values = keys, values
    if isinstance(layer, DynamicSlidingWindowLayer):
        # It stores only the last columns, and counts all of them to place its window.
        layer.cumulative_length = width
