"""The writing of answers by a loaded model: which requests are drawn, batched and given back, and when."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from transformers import PreTrainedModel

from sgpo_data.engines import GenerateRequest, Generation
from sgpo_data.engines.chat import Chat
from sgpo_data.engines.local.batch import AnswerBatch, TokenizedAnswer, TokenizedPrompt
from sgpo_data.engines.local.weights import not_finite
from sgpo_data.errors import EngineError
from sgpo_data.rows import Finish

log = logging.getLogger(__name__)


class Decoding:
    """One stream of answers.

    Rows join the batch as others leave it, so that it stays full: its rows, times the longest prompt among them plus the longest
    answer, stay within `batch_tokens`, but for a single row. The budget is halved where the device has no memory for it.
    """

    def __init__(self, model: PreTrainedModel, chat: Chat, *, context_tokens: int, batch_tokens: int, window: int) -> None:
        self._model = model
        self._chat = chat
        self._context_tokens = context_tokens
        self._batch_tokens = batch_tokens
        self._window = window
        generation_config = model.generation_config
        self._stop_ids = chat.stop_ids(None if generation_config is None else generation_config.eos_token_id)
        self._batch = AnswerBatch(model, stop_ids=self._stop_ids)
        self._waiting: list[TokenizedPrompt] = []

    def generations(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        """As `Generator.generate`; at most `window` requests are drawn and not yet yielded."""
        source = iter(requests)
        while True:
            while self._unfinished() < self._window and (request := next(source, None)) is not None:
                prompt = self._prompt(request)
                if failure := self._failure(prompt):
                    yield Generation(request.key, text=None, finish=failure, nll=None, tokens=None)
                else:
                    self._waiting.append(prompt)
            self._move()
            if not self._batch.live:
                return
            for finished in self._batch.sample():
                yield self._generation(finished)

    def _unfinished(self) -> int:
        return len(self._waiting) + len(self._batch.live)

    def _prompt(self, request: GenerateRequest) -> TokenizedPrompt:
        ids = self._chat.prompt_ids(request.messages) or []
        return TokenizedPrompt(request, ids, room=min(request.sampling.max_tokens, self._context_tokens - len(ids)))

    def _failure(self, prompt: TokenizedPrompt) -> Finish | None:
        if not prompt.ids:
            return "refused"
        return "too_long" if prompt.room < 1 else None

    def _move(self) -> None:
        """Brings the batch to where the next tokens can be sampled, and takes in what is waiting and fits."""
        held = self._batch.live
        joining: list[TokenizedPrompt] = []
        try:
            self._batch.advance()
            joining = self._fitting() if self._batch.admits else []
            if joining:
                self._batch.admit(joining)
        except torch.OutOfMemoryError as error:
            self._lower_budget([*held, *joining], error)
        else:
            admitted = set(joining)
            self._waiting = [prompt for prompt in self._waiting if prompt not in admitted]
            return
        # Outside of the handler, since the exception holds on to the tensors of the failed call. Rows that begin anew give the same answers.
        self._batch.clear()
        torch.cuda.empty_cache()
        self._waiting = [*held, *self._waiting]
        self._move()

    def _fitting(self) -> list[TokenizedPrompt]:
        """The prompt that waits longest, then those nearest to it in length: little padding, and none waits for ever."""
        live = self._batch.live
        prompt_tokens = max((len(prompt.ids) for prompt in live), default=0)
        answer_tokens = max((prompt.request.sampling.max_tokens for prompt in live), default=0)
        fitting: list[TokenizedPrompt] = []
        for prompt in sorted(self._waiting, key=lambda prompt: abs(len(prompt.ids) - len(self._waiting[0].ids))):
            prompt_tokens = max(prompt_tokens, len(prompt.ids))
            answer_tokens = max(answer_tokens, prompt.request.sampling.max_tokens)
            rows = len(live) + len(fitting) + 1
            if rows > 1 and rows * min(prompt_tokens + answer_tokens, self._context_tokens) > self._batch_tokens:
                break
            fitting.append(prompt)
        return fitting

    def _lower_budget(self, prompts: Sequence[TokenizedPrompt], error: torch.OutOfMemoryError) -> None:
        longest = max(len(prompt.ids) for prompt in prompts) + max(prompt.request.sampling.max_tokens for prompt in prompts)
        tokens = min(longest, self._context_tokens)
        if len(prompts) == 1:
            raise EngineError(f"out of memory for one row of {tokens} tokens; lower max_tokens or the context length") from error
        self._batch_tokens = len(prompts) * tokens // 2
        log.warning("out of memory for %d rows of %d tokens; going on with --batch-tokens %d", len(prompts), tokens, self._batch_tokens)

    def _generation(self, finished: TokenizedAnswer) -> Generation:
        if not math.isfinite(finished.nll):
            raise not_finite(self._model)
        stopped = finished.ids[-1] in self._stop_ids
        return self._chat.generation(finished.prompt.request, finished.ids, stopped=stopped, nll=finished.nll)
