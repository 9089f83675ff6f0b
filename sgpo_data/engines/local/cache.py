"""Rows of a key-value cache that leave and join while it is in use."""

from __future__ import annotations

import torch
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

COLUMNS = 64
"""A layer that is full gets room for a quarter more than it holds, and for this many at least."""


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer of plain keys and values that writes a new column into the room behind the others; its own kind copies all of them for each."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rooms: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        """Of keys and values, and the keys they are for: others may have been put into their place since."""

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object) -> tuple[torch.Tensor, torch.Tensor]:
        """As of DynamicLayer."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        columns = held + key_states.shape[2]
        if self._rooms is None or self._rooms[2] is not self.keys or self._rooms[0].shape[2] < columns:
            keys, values = (self._room(*states, columns) for states in ((self.keys, key_states), (self.values, value_states)))
        else:
            keys, values, _ = self._rooms
        keys[:, :, held:columns] = key_states
        values[:, :, held:columns] = value_states
        self.keys, self.values = keys[:, :, :columns], values[:, :, :columns]
        self._rooms = keys, values, self.keys
        return self.keys, self.values

    def _room(self, held: torch.Tensor | None, states: torch.Tensor, columns: int) -> torch.Tensor:
        rows, heads, _, dimensions = states.shape
        room = states.new_empty(rows, heads, columns + max(COLUMNS, columns // 4), dimensions)
        if held is not None and held.numel():
            room[:, :, : held.shape[2]] = held
        return room


def roomy(config: PreTrainedConfig) -> DynamicCache:
    """The empty cache of a model, its plain layers with room."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def joinable(cache: DynamicCache) -> bool:
    """Whether the cache holds plain keys and values only; rows can leave any cache, but join only such a one."""
    return all(type(layer) in (RoomyLayer, DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers)


def narrow(cache: DynamicCache, width: int) -> None:
    """Drops the oldest columns of a joinable cache beyond the last `width`: those that are padding in every row."""
    for layer in cache.layers:
        keys, values = plain_states(layer)
        _replace(layer, keys[:, :, -width:], values[:, :, -width:], width)


def join(cache: DynamicCache, other: DynamicCache, *, width: int) -> None:
    """Appends the rows of `other`; both end in the same column, the shorter one is padded on the left to `width`, the larger of both."""
    for layer, joining in zip(cache.layers, other.layers, strict=True):
        keys, values = (_stacked(*states) for states in zip(plain_states(layer), plain_states(joining), strict=True))
        _replace(layer, keys, values, width)


def _stacked(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    width = max(above.shape[2], below.shape[2])
    return torch.cat([pad(states, (0, 0, width - states.shape[2], 0)) for states in (above, below)])


def plain_states(layer: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values of a layer of a joinable cache that holds some: (rows, heads, columns, dimensions) each."""
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
