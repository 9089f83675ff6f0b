"""One question to a model at a server: what is sent, and what each kind of answer or failure means for the row and for the run."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from typing import Literal, cast

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import JsonValue

from sgpo_data.engines import GenerateRequest, Generation
from sgpo_data.engines.server.completion import Completion, NoCompletionError, ServerFailureError, completion
from sgpo_data.engines.server.probe import rendered
from sgpo_data.errors import EngineError, ServerError, SgpoError
from sgpo_data.rows import Finish

log = logging.getLogger(__name__)

ROW_STATUSES = frozenset([400, 413, 422])
"""What a server says about one request; any other 4xx is about all of them."""
TOO_LONG = (
    "context_length", "context length", "max_model_len", "maximum model length", "too long", "too many tokens", "context window", "context size",
    "prompt length", "token count", "must have less than", "inputs` tokens +", "maximum number of tokens",
)  # fmt: skip
"""Words of the servers for a prompt that does not fit: OpenAI, vLLM, llama.cpp, xAI, Gemini, TGI."""
FLAGGED = ("flagged", "moderation", "content policy", "content_filter")
"""Words for a prompt that is not let through: OpenRouter says them with 403."""
NEUTRAL: Mapping[str, JsonValue] = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""No limit and no penalty, named in each request: for what is not, vLLM and SGLang take the model's generation_config, llama.cpp values of its own."""
SHARED = ("max_tokens", "max_completion_tokens", "seed", "temperature", "top_p", "top_k", "model")
"""Parameters that all rows are asked with."""
UNKNOWN = ("unsupported", "not supported", "unrecognized", "unknown", "unexpected", "not permitted")
"""Words of the servers for a parameter that they do not take: OpenAI, Azure, llama.cpp, FastAPI."""

MOST_LIKELY = (20, 5)
"""First tokens whose log-probabilities are asked for: the most that OpenAI and vLLM tell, and what others do."""
UNBOUNDED_SECONDS = 600
"""Longest wait for one answer where the client was not given one."""
PATIENCE = 2
"""Times the longest wait for one answer, attempts included, after which a row that may time out has."""


class Endpoint:
    """A model at a server; asked from one event loop."""

    def __init__(self, client: AsyncOpenAI, model: str, *, place: str, key: str | None, key_variable: str, template: Mapping[str, JsonValue]) -> None:
        self._client = client
        self._model = model
        self._place = place
        self._key = key
        self._key_variable = key_variable
        self._template = template
        self._lost: frozenset[str] = frozenset()
        self._seconds = client.timeout if isinstance(client.timeout, int | float) else UNBOUNDED_SECONDS
        self._logprobs = True
        self._most_likely = MOST_LIKELY[0]
        self._neutral = NEUTRAL
        self._accepted = False
        self._limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
        self._seeded = True

    async def check(self, attempts: int) -> None:
        """Asks whether the server is there and takes the key.

        Raises ServerError or EngineError.
        """
        try:
            # As it comes: the list itself is of no use, and the library does not read every one.
            await self._client.with_options(max_retries=attempts).models.with_raw_response.list()
        except openai.NotFoundError:
            # Not every server lists its models.
            pass
        except openai.APIError as error:
            raise self._failure(error) from None
        await self._look_at_template()

    async def _look_at_template(self) -> None:
        found = await rendered(self._client, self._model, self._template)
        if found is None:
            return
        if "user" in found.lost:
            raise EngineError(f"{self._place}: the chat template loses the text of the question, so that all prompts would be the same; mend it there")
        self._lost = found.lost
        for role in sorted(found.lost):
            log.warning("%s: the chat template leaves the %s turn out; prompts with one are rows that say refused", self._place, role)
        if found.dated:
            log.warning("%s: the chat template writes today's date, so that rows differ by the day; pin it with an argument of it, template.NAME", self._place)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def answer(self, request: GenerateRequest) -> Generation:
        """The answer, or why there is none.

        Raises ServerError if the server cannot be reached or is overloaded after all attempts, EngineError if it cannot do what is asked.
        """
        if any(message["role"] in self._lost for message in request.messages):
            return _none(request, "refused")
        if not request.may_time_out:
            return await self._answer(request)
        try:
            async with asyncio.timeout(PATIENCE * self._seconds):
                return await self._answer(request)
        except TimeoutError:
            return _none(request, "timeout")

    async def _answer(self, request: GenerateRequest) -> Generation:
        most_likely = self._most_likely
        logprobs, limit, neutral, seeded = self._logprobs, self._limit, self._neutral, self._seeded
        try:
            answer = completion(await self._asked(request))
        except openai.APIStatusError as error:
            if error.status_code == 403 and any(word in _words(error) for word in FLAGGED):
                return self._refused(request, error)
            if error.status_code not in ROW_STATUSES:
                raise self._failure(error) from None
            if request.labels and most_likely > MOST_LIKELY[1] and "top_logprobs" in _words(error):
                self._most_likely = MOST_LIKELY[1]
                return await self._answer(request)
            if logprobs and "logprobs" in _words(error):
                return await self._without_logprobs(request)
            if limit != self._limit or (limit == "max_tokens" and self._is_unknown("max_tokens", error)):
                self._limit = "max_completion_tokens"
                return await self._answer(request)
            if seeded and (not self._seeded or self._is_unknown("seed", error)):
                return await self._without_seed(request)
            unknown = [name for name in neutral if name in _words(error)]
            # Once they were taken, a refusal that has such a word is about the words of the row.
            if unknown and not (self._accepted and neutral is self._neutral):
                return await self._without(unknown, request, error)
            return self._refused(request, error)
        except openai.APIError as error:
            raise self._failure(error) from None
        except NoCompletionError as error:
            hint = "is this the base URL of an OpenAI-compatible server?"
            raise EngineError(f"{self._place}: what came back is no chat completion but {error}; {hint}") from error
        except ServerFailureError as error:
            raise ServerError(f"{self._place}: answered with an error ({self._without_key(str(error))}); the same command goes on from here") from error
        self._accepted = True
        return self._generation(request, answer)

    async def _asked(self, request: GenerateRequest) -> bytes:
        """The body of the answer as it comes: the library does not check what it makes of it."""
        sampling = request.sampling
        messages = [{"role": message["role"], "content": message["content"]} for message in request.messages]
        response = await self._client.chat.completions.with_raw_response.create(
            model=self._model,
            messages=cast("list[ChatCompletionMessageParam]", messages),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens if self._limit == "max_tokens" else openai.omit,
            max_completion_tokens=sampling.max_tokens if self._limit == "max_completion_tokens" else openai.omit,
            seed=request.seed if self._seeded else openai.omit,
            logprobs=True if self._logprobs else openai.omit,
            top_logprobs=self._most_likely if self._logprobs and request.labels else openai.omit,
            # Not all in OpenAI's protocol, but servers such as vLLM and SGLang take them.
            extra_body={
                **self._neutral,
                **({"top_k": sampling.top_k} if sampling.top_k else {}),
                **({"chat_template_kwargs": dict(self._template)} if self._template else {}),
            },
        )
        return response.content

    def _is_unknown(self, name: str, error: openai.APIStatusError) -> bool:
        """Whether the server does not take the parameter; once it took all of them, a refusal with such words is about those of the row."""
        return not self._accepted and name in _words(error) and any(each in _words(error) for each in UNKNOWN)

    async def _without_seed(self, request: GenerateRequest) -> Generation:
        if self._seeded:
            log.warning("%s: does not take seed, so the same rows asked again get other answers", self._place)
            self._seeded = False
        return await self._answer(request)

    async def _without_logprobs(self, request: GenerateRequest) -> Generation:
        if self._logprobs:
            log.warning("%s: gives no log-probabilities, so sampled_nll stays empty", self._place)
            self._logprobs = False
        return await self._answer(request)

    async def _without(self, names: list[str], request: GenerateRequest, error: openai.APIStatusError) -> Generation:
        if request.sampling.top_k and "top_k" in names:
            raise self._not_taken(error)
        if left := [name for name in names if name in self._neutral]:
            log.warning("%s: does not take %s, so what the server has for it decides", self._place, ", ".join(left))
            self._neutral = {name: value for name, value in self._neutral.items() if name not in left}
        return await self._answer(request)

    def _generation(self, request: GenerateRequest, answer: Completion) -> Generation:
        if answer.ending == "broken":
            raise ServerError(f"{self._place}: the server broke off an answer ({answer.finish_reason}); the same command goes on from here")
        if answer.text is None or answer.ending == "withheld":
            return _none(request, "refused")
        finish: Finish = "length" if answer.ending == "cut" else "stop" if answer.text.strip() else "empty"
        labels = _labels(request, answer.first)
        return Generation(request.key, text=answer.text, finish=finish, nll=answer.nll, tokens=answer.tokens, labels=labels)

    def _refused(self, request: GenerateRequest, error: openai.APIStatusError) -> Generation:
        """The row's own failure, unless it is about a setting that all rows share."""
        words = _words(error)
        if error.status_code == 413 or any(word in words for word in TOO_LONG):
            return _none(request, "too_long")
        if error.param in SHARED or error.code in ("unsupported_parameter", "unsupported_value"):
            raise self._not_taken(error)
        log.debug("%s: refused %s (%s)", self._place, request.key, self._said(error))
        return _none(request, "refused")

    def _not_taken(self, error: openai.APIStatusError) -> EngineError:
        return EngineError(f"{self._place}: the server does not take what is asked ({self._said(error)}); change that, or ask another model")

    def _failure(self, error: openai.APIError) -> SgpoError:
        if not isinstance(error, openai.APIStatusError):
            said = "does not answer in time" if isinstance(error, openai.APITimeoutError) else "cannot be reached"
            return ServerError(f"{self._place}: {said}; see whether the server runs, then give the same command again")
        status, said = error.status_code, self._said(error)
        if status in (401, 403):
            # What the server says of it may hold a part of the key.
            found = "is refused" if self._key else "is not set"
            return EngineError(f"{self._place}: the key of environment variable {self._key_variable} {found} ({status}); set it to one that the server takes")
        if status == 404:
            return EngineError(f"{self._place}: no model {self._model} there ({said}); give its name as the server has it, and a base URL that ends in /v1")
        if status in (408, 409, 429) or status >= 500:
            return ServerError(f"{self._place}: overloaded or broken ({said}); give the same command again later, it goes on from here")
        return EngineError(f"{self._place}: cannot be used ({said}); check the base URL and the account")

    def _said(self, error: openai.APIStatusError) -> str:
        """Status and message, in one line of bounded length that does not hold the key."""
        return f"{error.status_code}: {self._without_key(' '.join(str(error.message).split()))}"[:300]

    def _without_key(self, words: str) -> str:
        return words.replace(self._key, "...") if self._key else words


def _labels(request: GenerateRequest, first: tuple[tuple[str, float], ...] | None) -> tuple[float, ...] | None:
    if not request.labels or first is None:
        return None
    return tuple(math.fsum(math.exp(logprob) for token, logprob in first if token.strip() == label) for label in request.labels)


def _none(request: GenerateRequest, finish: Literal["refused", "too_long", "timeout"]) -> Generation:
    return Generation(request.key, text=None, finish=finish, nll=None, tokens=None)


def _words(error: openai.APIStatusError) -> str:
    return f"{error.code} {error.param} {error.message}".lower()
