"""Attention over trees laid end to end: a token sees its prompt, and of its own answer what stands before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "sgpo_trees"
"""What models call this attention by."""


class NotPackableError(Exception):
    """A model asks for an attention that trees cannot be given."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a tree lies in the sequence; an answer whose only token is its end is not there."""

    start: int
    prompt_end: int
    answers: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Forest:
    """All trees of one sequence, and what is asked of their attention."""

    tokens: int
    spans: tuple[Span, ...]
    windows: tuple[int | None, ...]
    """Of each layer, the tokens it sees, its own included; None for all."""
    seen: set[int] = field(default_factory=set)
    """The layers that were computed."""
    _masks: dict[tuple[int, int, int | None], torch.Tensor] = field(default_factory=dict)

    def mask(self, prompt: int, answer: int, window: int | None, device: torch.device) -> torch.Tensor:
        """(answer, prompt + answer): what each token of an answer sees; of the prompt itself if `prompt` is 0."""
        key = (prompt, answer, window)
        if key not in self._masks:
            seen = torch.ones(answer, prompt + answer, dtype=torch.bool, device=device).tril(prompt)
            self._masks[key] = seen if window is None else seen.triu(prompt + 1 - window)
        return self._masks[key]


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    forest: Forest | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: object,
) -> tuple[torch.Tensor, None]:
    """An attention function of transformers: (1, heads, tokens, dimensions) in, (1, tokens, heads, dimensions) out.

    Raises NotPackableError if the model asks for what it does not know.
    """
    layer = getattr(module, "layer_idx", None)
    asked = [name for name in ("softcap", "s_aux", "position_bias", "cache") if others.get(name) is not None]
    if forest is None or not isinstance(layer, int) or attention_mask is not None or others.get("is_causal") is False:
        raise NotPackableError("its layers do not hand on what attention is told")
    if asked:
        raise NotPackableError(f"its attention has {' and '.join(asked)}")
    if query.shape[2] != forest.tokens or key.shape[2] != forest.tokens or forest.windows[layer] != sliding_window:
        raise NotPackableError("its layers do not see what its configuration says")
    forest.seen.add(layer)
    if (groups := query.shape[1] // key.shape[1]) > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    output = query.new_empty(1, forest.tokens, query.shape[1], value.shape[3])
    for begin, end, keys, values, mask in _pieces(forest, key, value, sliding_window):
        attended = scaled_dot_product_attention(query[:, :, begin:end], keys, values, attn_mask=mask, is_causal=mask is None, scale=scaling)
        output[:, begin:end] = attended.transpose(1, 2)
    return output, None


Piece = tuple[int, int, torch.Tensor, torch.Tensor, torch.Tensor | None]
"""Begin and end of the queries, their keys and values, and what each sees of them; None for what stands before it."""


def _pieces(forest: Forest, key: torch.Tensor, value: torch.Tensor, window: int | None) -> Iterator[Piece]:
    for span in forest.spans:
        prompt = slice(span.start, span.prompt_end)
        length = span.prompt_end - span.start
        narrow = window is not None and length > window
        yield span.start, span.prompt_end, key[:, :, prompt], value[:, :, prompt], forest.mask(0, length, window, key.device) if narrow else None
        for begin, end in span.answers:
            keys, values = (torch.cat([states[:, :, prompt], states[:, :, begin:end]], dim=2) for states in (key, value))
            yield begin, end, keys, values, forest.mask(length, end - begin, window, key.device)


AttentionInterface.register(NAME, tree_attention)
