"""The scoring of answers by a loaded model: which requests are drawn, batched and given back, and when."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import torch
from transformers import PreTrainedModel

from sgpo_data.engines import Likelihood, Scored, ScoreRequest
from sgpo_data.engines.chat import AnswerReader, Chat
from sgpo_data.engines.local.packable import Way
from sgpo_data.engines.local.trees import Tree
from sgpo_data.engines.local.weights import not_finite
from sgpo_data.errors import EngineError

log = logging.getLogger(__name__)


class Scoring:
    """One stream of likelihoods; the budget of tokens is halved where the device has no memory for it."""

    def __init__(self, model: PreTrainedModel, chat: Chat, way: Way, *, context_tokens: int, batch_tokens: int, window: int) -> None:
        self._model = model
        self._chat = chat
        self._context_tokens = context_tokens
        self._batch_tokens = batch_tokens
        self._window = window
        self._way = way
        self._far = _far(model)

    def scored(self, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
        """As `Scorer.score`; at most the window is drawn and not yet yielded."""
        source, reader = iter(requests), AnswerReader(self._chat)
        while drawn := list(islice(source, self._window)):
            found, trees = self._prepared(drawn, reader)
            missing = Counter({tree.request: 0 for tree in trees})
            for tree in trees:
                missing[tree.request] += len(tree.answers)
            yield from (Scored(request.key, tuple(found[index])) for index, request in enumerate(drawn) if index not in missing)
            for tree, values in self._computed(trees):
                for (answer, ids), nll in zip(tree.answers, values, strict=True):
                    found[tree.request][answer] = Likelihood(nll, len(ids))
                missing[tree.request] -= len(tree.answers)
                if not missing[tree.request]:
                    yield Scored(drawn[tree.request].key, tuple(found[tree.request]))
        reader.warn()

    def _prepared(self, requests: Sequence[ScoreRequest], reader: AnswerReader) -> tuple[list[list[Likelihood]], list[Tree]]:
        """A likelihood without nll for every answer, and the trees of those that will replace them."""
        found: list[list[Likelihood]] = []
        trees = []
        for index, request in enumerate(requests):
            rendered = reader.renderings(request)
            found.append(
                [
                    Likelihood(None, reader.chat.tokens(answer) if each is None else len(each.answer))
                    for each, answer in zip(rendered, request.answers, strict=True)
                ]
            )
            # Answers share a prompt, but where a token holds the end of it and the beginning of an answer.
            same: dict[tuple[bool, tuple[int, ...]], list[tuple[int, list[int]]]] = {}
            for place, each in enumerate(rendered):
                if each is not None and (tokens := len(each.prompt) + len(each.answer)) <= self._context_tokens:
                    same.setdefault((tokens - 1 > self._far, tuple(each.prompt)), []).append((place, each.answer))
            trees += [Tree(index, far, list(prompt), tuple(answers)) for (far, prompt), answers in same.items()]
        return found, trees

    def _computed(self, trees: Sequence[Tree]) -> Iterator[tuple[Tree, list[float]]]:
        """Nats of the answers of each tree, or of what was cut from it."""
        waiting = self._way.batches(trees, self._batch_tokens)[::-1]
        while waiting:
            batch = waiting.pop()
            values = self._nats(batch)
            if values is None:
                self._lower_budget(batch)
                waiting = self._way.batches([*batch, *chain.from_iterable(reversed(waiting))], self._batch_tokens)[::-1]
                continue
            nats = iter(values)
            yield from ((tree, list(islice(nats, len(tree.answers)))) for tree in batch)

    def _nats(self, batch: Sequence[Tree]) -> list[float] | None:
        """Nats of each answer; None if the device has no memory for the batch."""
        try:
            values: list[float] = self._way.nats(batch).tolist()
        except torch.OutOfMemoryError:
            return None
        if not all(map(math.isfinite, values)):
            raise not_finite(self._model)
        return values

    def _lower_budget(self, batch: Sequence[Tree]) -> None:
        tokens = sum(tree.tokens for tree in batch)
        if len(batch) == len(batch[0].answers) == 1:
            raise EngineError(f"out of memory for one row of {tokens} tokens; lower the context length")
        self._batch_tokens = min(self._batch_tokens, tokens) // 2
        torch.cuda.empty_cache()
        log.warning("out of memory for %d tokens at once, going on with %d; lower --batch-tokens", tokens, self._batch_tokens)


def _far(model: PreTrainedModel) -> float:
    """Tokens beyond which the model turns all positions of a row otherwise (longrope), so that such rows are not computed with others."""
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    return float(rope["original_max_position_embeddings"]) if rope.get("rope_type") == "longrope" else math.inf
