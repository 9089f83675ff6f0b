"""A batch of answers that are being written, whose rows come and go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import cast

import numpy as np
import torch
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedModel

from sgpo_data.engines import GenerateRequest
from sgpo_data.engines.local.cache import join, joinable, narrow, roomy
from sgpo_data.engines.local.sampling import sampled_tokens

LEAVING_SHARE = 0.25
"""Finished rows are computed on as ballast until they are this share of the batch: taking them out of the cache costs more than they do."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedPrompt:
    """A request with its ids, and how many tokens its answer may have."""

    request: GenerateRequest
    ids: list[int]
    room: int


@dataclass(frozen=True, slots=True)
class TokenizedAnswer:
    """The sampled ids of one answer, a stop id included, and their nats."""

    prompt: TokenizedPrompt
    ids: list[int]
    nll: float


@dataclass(slots=True)
class _Rows:
    """What is known of each row, on the device of the model; the rows are the first dimension throughout."""

    mask: torch.Tensor
    """(rows, columns of the cache): 0 where a row has padding, which is on its left only."""
    length: torch.Tensor
    """Tokens in the cache."""
    room: torch.Tensor
    uniforms: torch.Tensor
    """(rows, steps), float64: what each token is drawn with, from the row's seed alone; zeros beyond the steps that the row has room for."""
    history: torch.Tensor
    """(rows, steps): the ids sampled so far."""
    count: torch.Tensor
    """How many they are."""
    nll: torch.Tensor
    live: torch.Tensor
    logits: torch.Tensor
    """(rows, vocabulary), float32: of the token to be sampled next."""

    def kept(self, rows: torch.Tensor) -> _Rows:
        return _Rows(*(getattr(self, field.name)[rows] for field in fields(self)))

    def joined(self, other: _Rows) -> _Rows:
        return _Rows(*(torch.cat([getattr(self, field.name), getattr(other, field.name)]) for field in fields(self)))

    def widened(self, width: int, steps: int) -> _Rows:
        wide = self.kept(torch.arange(len(self.live), device=self.live.device))
        wide.mask = pad(self.mask, (width - self.mask.shape[1], 0))
        wide.uniforms = pad(self.uniforms, (0, steps - self.steps))
        wide.history = pad(self.history, (0, steps - self.steps))
        return wide

    @property
    def steps(self) -> int:
        return self.history.shape[1]


class AnswerBatch:
    """Answers under way; a row depends on its own prompt and seed only, up to the rounding of a padded matrix product."""

    def __init__(self, model: PreTrainedModel, *, stop_ids: frozenset[int]) -> None:
        self._model = model
        self._stop_ids = torch.tensor(sorted(stop_ids), device=model.device)
        self.clear()

    def clear(self) -> None:
        """Forgets all rows and frees their cache."""
        self._hold([])
        self._finished: set[int] = set()
        self._rows: _Rows | None = None
        self._cache: DynamicCache | None = None

    @property
    def live(self) -> list[TokenizedPrompt]:
        """The prompts whose answers are under way."""
        return [prompt for row, prompt in enumerate(self._prompts) if row not in self._finished]

    @property
    def admits(self) -> bool:
        """Whether rows can join now: there are none, or none is ballast and the cache can grow."""
        return self._cache is None or (not self._finished and joinable(self._cache))

    @torch.inference_mode()
    def admit(self, prompts: Sequence[TokenizedPrompt]) -> None:
        """Reads the prompts and adds them to the batch."""
        rows, cache = self._read(prompts)
        if self._rows is None or self._cache is None:
            self._rows, self._cache = rows, cache
        else:
            width, steps = max(self._rows.mask.shape[1], rows.mask.shape[1]), max(self._rows.steps, rows.steps)
            join(self._cache, cache, width=width)
            self._rows = self._rows.widened(width, steps).joined(rows.widened(width, steps))
        self._hold([*self._prompts, *prompts])

    @torch.inference_mode()
    def sample(self) -> list[TokenizedAnswer]:
        """Samples one token for every row; gives the answers that end with it."""
        assert self._rows is not None
        rows = self._rows
        # Ballast may have used up its steps; what it samples is never read.
        step = rows.count.clamp(max=rows.steps - 1)[:, None]
        ids = self._drawn(rows.logits, rows.uniforms.gather(1, step)[:, 0])[:, None]
        rows.nll += rows.logits.logsumexp(dim=-1) - rows.logits.gather(1, ids)[:, 0]
        rows.history.scatter_(1, step, ids)
        rows.count += rows.live
        ended = rows.live & ((ids == self._stop_ids).any(dim=1) | (rows.count >= rows.room))
        rows.live &= ~ended
        ending = ended.nonzero()[:, 0]
        indices: list[int] = ending.tolist()
        if not indices:
            return []
        self._finished.update(indices)
        columns = zip(indices, rows.history[ending].tolist(), rows.count[ending].tolist(), rows.nll[ending].tolist(), strict=True)
        return [TokenizedAnswer(self._prompts[index], history[:count], nll) for index, history, count, nll in columns]

    @torch.inference_mode()
    def advance(self) -> None:
        """Feeds the sampled tokens, without the rows that finished once they are too many; nothing is left to sample if all have."""
        if len(self._finished) == len(self._prompts):
            self.clear()
            return
        if len(self._finished) >= LEAVING_SHARE * len(self._prompts):
            self._leave()
        assert self._rows is not None
        assert self._cache is not None
        rows = self._rows
        rows.mask = torch.cat([rows.mask, torch.ones_like(rows.mask[:, :1])], dim=1)
        last = rows.history.gather(1, rows.count[:, None] - 1)
        rows.logits = self._logits(last, positions=rows.length[:, None], mask=rows.mask, cache=self._cache)
        rows.length += rows.live

    def _read(self, prompts: Sequence[TokenizedPrompt]) -> tuple[_Rows, DynamicCache]:
        device, width = self._model.device, max(len(prompt.ids) for prompt in prompts)
        ids = torch.tensor([[0] * (width - len(prompt.ids)) + prompt.ids for prompt in prompts], device=device)
        length = torch.tensor([len(prompt.ids) for prompt in prompts], device=device)
        # Fewer or more steps than another time give a row the same numbers, one after the other.
        steps = max(prompt.room for prompt in prompts)
        uniforms = np.stack([np.random.Generator(np.random.Philox(key=prompt.request.seed)).random(steps) for prompt in prompts])
        positions = torch.arange(width, device=device) - (width - length)[:, None]
        mask = (positions >= 0).long()
        cache = roomy(self._model.config)
        rows = _Rows(
            mask=mask,
            length=length,
            room=torch.tensor([prompt.room for prompt in prompts], device=device),
            uniforms=torch.from_numpy(uniforms).to(device),
            history=torch.zeros(uniforms.shape, dtype=torch.long, device=device),
            count=torch.zeros_like(length),
            nll=torch.zeros(len(prompts), dtype=torch.float64, device=device),
            live=torch.ones_like(length, dtype=torch.bool),
            logits=self._logits(ids, positions=positions.clamp(min=0), mask=mask, cache=cache),
        )
        return rows, cache

    def _logits(self, ids: torch.Tensor, *, positions: torch.Tensor, mask: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        """(rows, vocabulary), float32: of the token after the last column; the ids are added to the cache."""
        output = self._model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits

    def _hold(self, prompts: Sequence[TokenizedPrompt]) -> None:
        self._prompts = list(prompts)
        ways: dict[tuple[float, float, int], list[int]] = {}
        for row, prompt in enumerate(prompts):
            sampling = prompt.request.sampling
            ways.setdefault((sampling.temperature, sampling.top_p, sampling.top_k), []).append(row)
        self._ways = [(prompts[rows[0]].request.sampling, torch.tensor(rows, device=self._model.device)) for rows in ways.values()]

    def _drawn(self, logits: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
        """One id per row, each drawn as its request says."""
        if len(self._ways) == 1:
            return sampled_tokens(logits, uniforms, self._ways[0][0])
        ids = torch.empty(len(uniforms), dtype=torch.long, device=uniforms.device)
        for sampling, rows in self._ways:
            ids[rows] = sampled_tokens(logits[rows], uniforms[rows], sampling)
        return ids

    def _leave(self) -> None:
        """Takes the finished rows out, and the columns that only they needed."""
        assert self._rows is not None
        assert self._cache is not None
        keep = self._rows.live.nonzero()[:, 0]
        self._cache.reorder_cache(cast(torch.LongTensor, keep))
        self._rows = self._rows.kept(keep)
        self._hold(self.live)
        self._finished = set()
        if joinable(self._cache):
            width = int(self._rows.length.max())
            narrow(self._cache, width)
            self._rows.mask = self._rows.mask[:, -width:]
