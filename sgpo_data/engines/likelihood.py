"""The likelihood of answers under a loaded model, padded batch by padded batch."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from transformers import PreTrainedModel

from sgpo_data.engines import Likelihood, Scored, ScoreRequest
from sgpo_data.engines.chat import Chat
from sgpo_data.errors import EngineError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pair:
    """One answer to be scored: its place among the requests of the window, and all its ids."""

    request: int
    answer: int
    ids: list[int]
    tokens: int
    """How many of the last ids are the answer's."""


def scored(model: PreTrainedModel, chat: Chat, requests: Iterable[ScoreRequest], *, context_tokens: int, batch_tokens: int, window: int) -> Iterator[Scored]:
    """As `Scorer.score`; at most `window` requests are drawn and not yet yielded, a batch is at most `batch_tokens` padded tokens."""
    source = iter(requests)
    while drawn := list(islice(source, window)):
        found, pairs = _prepared(chat, drawn, context_tokens=context_tokens)
        missing = Counter(pair.request for pair in pairs)
        yield from (Scored(request.key, tuple(found[index])) for index, request in enumerate(drawn) if not missing[index])
        batches = _batches(pairs, batch_tokens)
        while batches:
            batch = batches.pop()
            values = _batch_nll(model, batch)
            if values is None:
                batches += _halves(batch)
                continue
            for pair, nll in zip(batch, values, strict=True):
                found[pair.request][pair.answer] = Likelihood(nll, pair.tokens)
                missing[pair.request] -= 1
                if not missing[pair.request]:
                    yield Scored(drawn[pair.request].key, tuple(found[pair.request]))


def _prepared(chat: Chat, requests: Sequence[ScoreRequest], *, context_tokens: int) -> tuple[list[list[Likelihood]], list[Pair]]:
    """A likelihood without nll for every answer, and the pairs that will replace them."""
    found: list[list[Likelihood]] = []
    pairs = []
    for request_index, request in enumerate(requests):
        prompt = chat.prompt_ids(request.messages)
        answers = [chat.answer_ids(answer) for answer in request.answers]
        found.append([Likelihood(None, len(ids)) for ids in answers])
        pairs += [
            Pair(request_index, answer_index, prompt + ids, len(ids))
            for answer_index, ids in enumerate(answers)
            if prompt is not None and len(prompt) + len(ids) <= context_tokens
        ]
    return found, pairs


def _batches(pairs: Sequence[Pair], batch_tokens: int) -> list[list[Pair]]:
    """Pairs of like length together, the longest last, each batch within the budget but of one pair at least."""
    batches: list[list[Pair]] = []
    for pair in sorted(pairs, key=lambda pair: len(pair.ids)):
        if batches and len(pair.ids) * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(pair)
        else:
            batches.append([pair])
    return batches


def _batch_nll(model: PreTrainedModel, batch: Sequence[Pair]) -> list[float] | None:
    """Nats of each pair's answer; None if the device has no memory for the batch."""
    try:
        values = _nll(model, batch)
    except torch.OutOfMemoryError:
        return None
    if not all(map(math.isfinite, values)):
        raise EngineError(f"{model.name_or_path}: the logits are not finite in {model.dtype}; use dtype float32 or bfloat16")
    return values


def _halves(batch: list[Pair]) -> list[list[Pair]]:
    if len(batch) == 1:
        raise EngineError(f"out of memory for one row of {len(batch[0].ids)} tokens; lower the context length")
    torch.cuda.empty_cache()
    log.warning("out of memory for %d rows of %d tokens, going on with half; lower --batch-tokens", len(batch), len(batch[-1].ids))
    return [batch[: len(batch) // 2], batch[len(batch) // 2 :]]


@torch.inference_mode()
def _nll(model: PreTrainedModel, batch: Sequence[Pair]) -> list[float]:
    # The last token is only ever predicted, so it is not fed.
    width = max(len(pair.ids) for pair in batch) - 1
    kept = max(pair.tokens for pair in batch)
    ids = torch.tensor([[0] * (width + 1 - len(pair.ids)) + pair.ids[:-1] for pair in batch], device=model.device)
    padding = torch.tensor([width + 1 - len(pair.ids) for pair in batch], device=model.device)
    columns = torch.arange(width, device=model.device)
    logits = model(
        input_ids=ids,
        attention_mask=(columns >= padding[:, None]).long(),
        position_ids=(columns - padding[:, None]).clamp(min=0),
        use_cache=False,
        logits_to_keep=kept,
    ).logits
    sums = []
    for pair, row in zip(batch, logits, strict=True):
        # Row by row, since a float32 copy of all logits would be the largest tensor by far.
        own = row[-pair.tokens :].float()
        targets = torch.tensor(pair.ids[-pair.tokens :], device=own.device)
        sums.append((own.logsumexp(dim=-1) - own.gather(-1, targets[:, None])[:, 0]).sum(dtype=torch.float64))
    return torch.stack(sums).tolist()
