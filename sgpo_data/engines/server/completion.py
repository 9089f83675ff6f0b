"""What a server's answer says, whatever it is made of: a completion whose every part is of the kind it has to be, or why it is none."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import orjson

from sgpo_data.errors import got

MOST_TOKENS = 2**31 - 1
"""What column sampled_tokens holds."""
LEAST_NLL = -1e-3
"""A sum of probabilities of 1 may lie below 0 by rounding; what lies lower is no likelihood."""
Ending = Literal["whole", "cut", "withheld", "broken"]
ENDINGS: Mapping[str, Ending] = {
    "length": "cut", "max_tokens": "cut", "model_length": "cut", "max_output_tokens": "cut",
    "content_filter": "withheld", "content_filtered": "withheld", "guardrail_intervened": "withheld", "safety": "withheld", "recitation": "withheld",
    "prohibited_content": "withheld", "blocklist": "withheld", "spii": "withheld", "sensitive": "withheld", "refusal": "withheld",
    "tool_calls": "withheld", "function_call": "withheld", "tool_use": "withheld",
    "abort": "broken", "error": "broken", "network_error": "broken", "insufficient_system_resource": "broken",
}  # fmt: skip
"""Reasons to finish, in small letters, of OpenAI, Mistral, Anthropic, Bedrock, Gemini, GLM, vLLM and DeepSeek; any other is a whole answer.
What calls a tool that nobody offered is no answer."""
TEXT_PARTS = frozenset(["text", "output_text"])
REASONING_PARTS = frozenset(["thinking", "reasoning"])
"""Parts that are no answer, as `reasoning_content` beside the content is none."""


class NoCompletionError(ValueError):
    """What came back is no chat completion: what it is instead, for the message."""


class ServerFailureError(ValueError):
    """A failure that came as an answer: the server's own words."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The first choice of a chat completion."""

    text: str | None
    """None if there is something else than text, or a refusal; empty if there is nothing."""
    finish_reason: str | None
    tokens: int | None
    """Tokens sampled, None if the server does not tell."""
    nll: float | None
    """Nats, summed over all of them; None unless there is a log-probability for each."""
    first: tuple[tuple[str, float], ...] | None = None
    """The likeliest first tokens, each with its log-probability; None if the server does not tell."""

    @property
    def ending(self) -> Ending:
        """What the reason to finish says of the answer."""
        return ENDINGS.get((self.finish_reason or "").lower(), "whole")


def completion(body: bytes) -> Completion:
    """What the answer says; of a count or a log-probability that is of the wrong kind it says nothing.

    Raises NoCompletionError if it is no completion, ServerFailureError if it tells of a failure.
    """
    whole = _json(body)
    if not isinstance(whole, dict):
        raise NoCompletionError(f"not an object {got(whole)}")
    choices = whole.get("choices")
    if not choices and whole.get("error"):
        raise ServerFailureError(_words(whole["error"]))
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise NoCompletionError(f"no choices {got(choices)}")
    choice = choices[0]
    message = choice.get("message") or {}
    if not isinstance(message, dict):
        raise NoCompletionError(f"the message is no object {got(message)}")
    usage, reason = whole.get("usage"), choice.get("finish_reason")
    tokens = _tokens(usage.get("completion_tokens") if isinstance(usage, dict) else None)
    text = None if message.get("refusal") else _text(message.get("content"))
    return Completion(text, reason if isinstance(reason, str) else None, tokens, _nll(choice.get("logprobs"), tokens), _first(choice.get("logprobs")))


def _json(body: bytes) -> object:
    if not body.strip():
        raise NoCompletionError("nothing")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        # Servers in Python write NaN, Infinity and lone surrogates.
        return json.loads(body)
    except UnicodeDecodeError as error:
        raise NoCompletionError(f"not UTF-8: byte 0x{error.object[error.start]:02x} at byte {error.start + 1}") from error
    except RecursionError as error:
        raise NoCompletionError("JSON that is nested too deeply") from error
    except ValueError as error:
        raise NoCompletionError(f"not JSON {got(body[:100].decode(errors='replace'))}") from error


def _text(content: object) -> str | None:
    if content is None:
        return ""
    if isinstance(content, list):
        texts = list(_parts(content))
        content = None if None in texts else "".join(text for text in texts if text is not None)
    elif not isinstance(content, str):
        raise NoCompletionError(f"the content is no text {got(content)}")
    return content if content is not None and _encodable(content) else None


def _parts(content: list[object]) -> Iterator[str | None]:
    """The texts of the parts that are the answer, None for one that no row can hold, such as a picture."""
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict) and kind in TEXT_PARTS and isinstance(part.get("text"), str):
            yield part["text"]
        elif not (isinstance(kind, str) and kind in REASONING_PARTS):
            yield None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tokens(count: object) -> int | None:
    whole = int(count) if isinstance(count, float) and count.is_integer() else count
    return whole if isinstance(whole, int) and not isinstance(whole, bool) and 1 <= whole <= MOST_TOKENS else None


def _first(logprobs: object) -> tuple[tuple[str, float], ...] | None:
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = entries[0] if isinstance(entries, list) and entries else None
    likeliest = first.get("top_logprobs") if isinstance(first, dict) else None
    if not isinstance(likeliest, list):
        return None
    told = [(each.get("token"), each.get("logprob")) for each in likeliest if isinstance(each, dict)]
    found = ((token, _logprob(value)) for token, value in told if isinstance(token, str))
    return tuple((token, logprob) for token, logprob in found if logprob is not None) or None


def _logprob(value: object) -> float | None:
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value <= -LEAST_NLL else None
    return None if number is None else min(number, 0.0)


def _nll(logprobs: object, tokens: int | None) -> float | None:
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(entries, list) or not entries or len(entries) != tokens:
        return None
    found = [entry.get("logprob") if isinstance(entry, dict) else None for entry in entries]
    numbers = [float(each) for each in found if isinstance(each, int | float) and not isinstance(each, bool) and -1e300 < each < 1e300]
    if len(numbers) != len(entries):
        return None
    nll = -math.fsum(numbers)
    return max(nll, 0.0) if LEAST_NLL <= nll < math.inf else None


def _words(error: object) -> str:
    said = error.get("message") if isinstance(error, dict) else error
    return " ".join(said.split())[:300] if isinstance(said, str) else got(error)
