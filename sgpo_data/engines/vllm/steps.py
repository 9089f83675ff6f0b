"""Streams of requests through the steps of a vLLM engine, which takes new rows in as others finish."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import msgspec
import torch
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError
from vllm.v1.sample import sampler

from sgpo_data.engines import GenerateRequest, Generation, Likelihood, Scored, ScoreRequest
from sgpo_data.engines.chat import AnswerReader, Chat
from sgpo_data.errors import EngineError, first_line

if TYPE_CHECKING:
    from vllm import RequestOutput
    from vllm.lora.request import LoRARequest
    from vllm.v1.engine.llm_engine import LLMEngine


SHARED = frozenset(field.name for field in msgspec.structs.fields(SamplingParams))
"""Settings that all rows share; what vLLM says of anything else is about the prompt."""


class Steps:
    """The requests that are under way in an engine."""

    def __init__(self, engine: LLMEngine, *, context_tokens: int, window: int, lora: LoRARequest | None) -> None:
        self.context_tokens = context_tokens
        self.window = window
        self._engine = engine
        self._lora = lora
        self.vocabulary: int = engine.model_config.get_vocab_size()
        self._names = map(str, count())

    def add(self, ids: Sequence[int], params: SamplingParams) -> str | None:
        """The name under which the request comes back; None if the engine refuses its prompt.

        Raises EngineError if it refuses what all requests ask for.
        """
        # Without a tokenizer of its own vLLM does not look, and an id that has no embedding ends the engine.
        if max(ids) >= self.vocabulary:
            return None
        name = next(self._names)
        try:
            self._engine.add_request(name, {"prompt_token_ids": list(ids)}, params, lora_request=self._lora)
        except VLLMValidationError as error:
            if error.parameter in SHARED:
                raise EngineError(f"vllm does not take what is asked: {first_line(error)}") from error
            return None
        return name

    def finished(self) -> list[RequestOutput]:
        """What is finished after one more step.

        Raises EngineError if the engine fails.
        """
        try:
            with _unranked():
                outputs: list[RequestOutput] = self._engine.step()
        except torch.OutOfMemoryError as error:
            raise EngineError("out of memory; lower --window, --batch-tokens or --memory-share") from error
        except (RuntimeError, EngineDeadError, EngineGenerateError) as error:
            raise EngineError(f"vllm failed: {first_line(error)}; the same command goes on from here") from error
        return outputs

    def abort(self, names: Iterable[str]) -> None:
        """Forgets requests that are under way."""
        self._engine.abort_request(list(names))


@contextmanager
def _unranked() -> Iterator[None]:
    """On a CPU, without the rank of each token: nobody reads it, it takes longer than the log-probability beside it, and to compile it takes 20 s."""
    if not current_platform.is_cpu():
        yield
        return
    ranks, sampler.batched_count_greater_than = sampler.batched_count_greater_than, _no_ranks
    try:
        yield
    finally:
        sampler.batched_count_greater_than = ranks


def _no_ranks(logprobs: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(logprobs), dtype=torch.int64)


def generations(steps: Steps, chat: Chat, requests: Iterable[GenerateRequest | None], *, stop_ids: frozenset[int]) -> Iterator[Generation]:
    """As `Generator.generate`; at most the window of the steps is drawn and not yet yielded."""
    source = iter(requests)
    # vLLM refuses what cannot be sampled anyway.
    stop_ids = frozenset(token for token in stop_ids if token < steps.vocabulary)
    running: dict[str, GenerateRequest] = {}
    try:
        while True:
            while len(running) < steps.window and (request := next(source, None)) is not None:
                ids = chat.prompt_ids(request.messages) or []
                room = min(request.sampling.max_tokens, steps.context_tokens - len(ids))
                name = steps.add(ids, _params(request, room, stop_ids)) if ids and room >= 1 else None
                if name is not None:
                    running[name] = request
                else:
                    yield Generation(request.key, text=None, finish="too_long" if room < 1 else "refused", nll=None, tokens=None)
            if not running:
                return
            for output in steps.finished():
                yield _generation(running.pop(output.request_id), output, chat, stop_ids)
    finally:
        steps.abort(running)


def _params(request: GenerateRequest, room: int, stop_ids: frozenset[int]) -> SamplingParams:
    sampling = request.sampling
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        seed=request.seed,
        max_tokens=room,
        stop_token_ids=sorted(stop_ids),
        # That of the sampled token alone.
        logprobs=0,
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _generation(request: GenerateRequest, output: RequestOutput, chat: Chat, stop_ids: frozenset[int]) -> Generation:
    answer = output.outputs[0]
    ids: list[int] = list(answer.token_ids)
    nll = -math.fsum(answer.logprobs.logprobs)
    _check_finite(nll)
    stopped = ids[-1] in stop_ids
    return chat.generation(request, ids, stopped=stopped, nll=nll)


def _check_finite(nll: float) -> None:
    if not math.isfinite(nll):
        raise EngineError("the logits are not finite; use dtype float32 or bfloat16")


@dataclass(slots=True)
class _Scoring:
    """A request whose answers are being scored."""

    request: ScoreRequest
    found: list[Likelihood]
    missing: int


@dataclass(frozen=True, slots=True)
class _Answer:
    """One answer under way: its place, its last id, and how many ids it has after how many of the prompt."""

    scoring: _Scoring
    index: int
    last: int
    prompt_tokens: int


def scored(steps: Steps, chat: Chat, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
    """As `Scorer.score`; at most the window of the steps is drawn and not yet yielded."""
    source, reader = iter(requests), AnswerReader(chat)
    running: dict[str, _Answer] = {}
    unfinished = 0
    try:
        while True:
            while unfinished < steps.window and (request := next(source, None)) is not None:
                scoring = _begun(steps, reader, request, running)
                if scoring.missing:
                    unfinished += 1
                else:
                    yield Scored(request.key, tuple(scoring.found))
            if not running:
                reader.warn()
                return
            for output in steps.finished():
                scoring = _counted(running.pop(output.request_id), output)
                if not scoring.missing:
                    unfinished -= 1
                    yield Scored(scoring.request.key, tuple(scoring.found))
    finally:
        steps.abort(running)


def _begun(steps: Steps, reader: AnswerReader, request: ScoreRequest, running: dict[str, _Answer]) -> _Scoring:
    """The request with all its answers added to `running` that can be scored."""
    rendered = reader.renderings(request)
    scoring = _Scoring(
        request,
        [Likelihood(None, reader.chat.tokens(answer) if each is None else len(each.answer)) for each, answer in zip(rendered, request.answers, strict=True)],
        missing=0,
    )
    for index, each in enumerate(rendered):
        if each is None or len(each.prompt) + len(each.answer) > steps.context_tokens:
            continue
        prompt, answer = each.prompt, each.answer
        # The last token is only ever predicted: vLLM has to generate one, and tells how likely that one would have been.
        name = steps.add([*prompt, *answer[:-1]], _score_params(answer[-1]))
        if name is not None:
            running[name] = _Answer(scoring, index, answer[-1], len(prompt))
            scoring.missing += 1
    return scoring


def _score_params(last: int) -> SamplingParams:
    return SamplingParams(
        temperature=0,
        max_tokens=1,
        prompt_logprobs=0,
        logprob_token_ids=[last],
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _counted(answer: _Answer, output: RequestOutput) -> _Scoring:
    # One value per token but the first.
    read: list[float] = output.prompt_logprobs.logprobs[answer.prompt_tokens - 1 :]
    end = output.outputs[0].logprobs
    last: float = dict(zip(end.token_ids, end.logprobs, strict=True))[answer.last]
    nll = -math.fsum([*read, last])
    _check_finite(nll)
    answer.scoring.found[answer.index] = Likelihood(nll, answer.scoring.found[answer.index].tokens)
    answer.scoring.missing -= 1
    return answer.scoring
