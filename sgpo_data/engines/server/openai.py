"""The engine that asks a model at a server with the OpenAI protocol."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sgpo_data.engines import GenerateRequest, Generation
from sgpo_data.engines.loading import check_installed
from sgpo_data.engines.server.event_loop import EventLoop
from sgpo_data.errors import EngineError

if TYPE_CHECKING:
    from pydantic import JsonValue

    from sgpo_data.engines.server.endpoint import Endpoint

MOST_CONNECTIONS = 1000
"""Requests at once; the library opens no more connections."""
ATTEMPTS = 10
"""Times a request is repeated after 408, 409, 429, 5xx, a timeout or a lost connection: a minute in all, or what Retry-After says."""
FIRST_ATTEMPTS = 2
"""The same for the question whether the server is there at all."""


class OpenAIEngine:
    """Generates with a model at a server; one stream at a time.

    The server applies its own chat template, stop tokens and context length. `nll` is the sum of the log-probabilities it gives with the answer, so it is
    at temperature 1 only if the server means it so, as vLLM does; None if there is not one for every token.
    """

    def __init__(self, endpoint: Endpoint, loop: EventLoop, *, window: int) -> None:
        self._window = min(window, MOST_CONNECTIONS)
        self._connected: tuple[Endpoint, EventLoop] | None = (endpoint, loop)

    @classmethod
    def connect(
        cls,
        model: str,
        *,
        base_url: str | None,
        key_variable: str,
        window: int,
        request_seconds: float = 600,
        attempts: int = ATTEMPTS,
        template: Mapping[str, JsonValue] | None = None,
    ) -> OpenAIEngine:
        """The model of this name at `base_url`, or else at that of OPENAI_BASE_URL, or else at OpenAI.

        `key_variable` names the environment variable that holds the key; the key itself is in no message and no file. `window` bounds the requests that are
        under way at once, `request_seconds` the wait for one answer. `template` are arguments of the server's chat template.

        Raises ServerError if no server answers, EngineError if it refuses the key.
        """
        check_installed("openai")
        from openai import AsyncOpenAI

        from sgpo_data.engines.server.endpoint import Endpoint

        key = os.environ.get(key_variable) or None
        # Servers without keys ignore this one; the library insists on one.
        client = AsyncOpenAI(api_key=key or "none", base_url=base_url, timeout=request_seconds, max_retries=attempts)
        endpoint = Endpoint(client, model, place=without_secrets(str(client.base_url)), key=key, key_variable=key_variable, template=template or {})
        engine = cls(endpoint, EventLoop("sgpo-openai"), window=window)
        try:
            engine._open()[1].run(endpoint.check(FIRST_ATTEMPTS))
        except BaseException:
            engine.close()
            raise
        return engine

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        """As `Generator.generate`; raises ServerError if the server is gone or overloaded for longer than the attempts last."""
        endpoint, loop = self._open()
        return loop.results(endpoint.answer, requests, window=self._window)

    def close(self) -> None:
        """Drops what is under way, and the connections; nothing may be asked afterwards."""
        connected, self._connected = self._connected, None
        if connected is not None:
            endpoint, loop = connected
            loop.close(endpoint.close)

    @property
    def accelerator(self) -> str | None:
        """None: what the server runs on is not known."""
        return None

    def _open(self) -> tuple[Endpoint, EventLoop]:
        if self._connected is None:
            raise EngineError("the engine is closed")
        return self._connected


def without_secrets(url: str) -> str:
    """The address without a user or password that may be in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
