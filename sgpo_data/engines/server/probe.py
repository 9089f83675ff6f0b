"""What the chat template of a server does to turns, as far as the server tells how it renders: vLLM does, OpenAI does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import openai
from openai import AsyncOpenAI
from pydantic import JsonValue

from sgpo_data.engines.template import QUESTION, SENTINEL, SYSTEM
from sgpo_data.rows import Message

SECONDS = 10
"""Longest wait for a rendering; a server that is slower is one that does not tell."""
DATES = ("%d %b %Y", "%Y-%m-%d", "%d %B %Y", "%B %d, %Y", "%b %d, %Y")
"""As templates write the day."""
CONVERSATIONS: Mapping[str, Sequence[tuple[str, str]]] = {
    "system": (("system", SYSTEM), ("user", QUESTION)),
    "user": (("user", QUESTION),),
    "assistant": (("user", "Hello."), ("assistant", SENTINEL), ("user", QUESTION)),
}
"""The shortest conversation with a turn of each role."""


@dataclass(frozen=True)
class Rendered:
    """What became of turns in the rendering."""

    lost: frozenset[str]
    """Roles of turns whose text is left out: an answer would be one to another conversation."""
    dated: bool
    """Whether it holds today's date."""


async def rendered(client: AsyncOpenAI, model: str, template: Mapping[str, JsonValue]) -> Rendered | None:
    """How the server renders turns; None if it does not tell. A role that it refuses is not lost: it will refuse the row."""
    asker = client.with_options(max_retries=0, timeout=SECONDS)
    texts: dict[str, str] = {}
    for role, turns in CONVERSATIONS.items():
        try:
            text = await _text(asker, model, [Message(role=each, content=content) for each, content in turns], template)
        except openai.BadRequestError:
            continue
        except (openai.OpenAIError, ValueError, TypeError, RecursionError):
            return None
        if text is None:
            return None
        texts[role] = text
    if not texts:
        return None
    words = {"system": SYSTEM, "user": QUESTION, "assistant": SENTINEL}
    now = datetime.now(UTC).astimezone()
    dated = any(f"{now:{form}}" in text for text in texts.values() for form in DATES)
    return Rendered(frozenset(role for role, text in texts.items() if words[role] not in text), dated)


async def _text(client: AsyncOpenAI, model: str, messages: list[Message], template: Mapping[str, JsonValue]) -> str | None:
    """The prompt as vLLM renders it, which tells its tokens, and of tokens their text."""
    told: dict[str, object] = {"chat_template_kwargs": dict(template)} if template else {}
    tokens = await _field(client, "tokenize", {"model": model, "messages": messages, "add_generation_prompt": True, **told}, "tokens")
    if not isinstance(tokens, list) or not tokens:
        return None
    text = await _field(client, "detokenize", {"model": model, "tokens": tokens}, "prompt")
    return text if isinstance(text, str) else None


async def _field(client: AsyncOpenAI, path: str, body: Mapping[str, object], name: str) -> object:
    # Beside /v1, not below it.
    answer = await client.post(str(client.base_url.join(f"../{path}")), body=body, cast_to=object)
    return answer.get(name) if isinstance(answer, dict) else None
