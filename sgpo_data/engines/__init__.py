"""What runs a model: two protocols, each a stream of requests in and a stream of results out, in any order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from sgpo_data.rows import Finish, Message

Key = tuple[str, int]
"""(prompt_id, sample): what a result is matched with its row by."""

ScoreKey = tuple[str, int, str]
"""(prompt_id, sample, context): a row is scored in more than one context."""


class ChatTemplate(BaseModel):
    """Which chat template a model's turns are rendered with, and what it is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: dict[str, JsonValue] = Field(
        default_factory=dict,
        exclude_if=lambda value: not value,
        description="Arguments of the chat template, such as enable_thinking=false; today=2026-01-31 is the day it is told.",
    )
    template_name: str | None = Field(
        None, exclude_if=lambda value: value is None, description="Which of a model's chat templates; the default one if not given."
    )


class Sampling(BaseModel):
    """How answers are drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(0.7, ge=0, description="Flatness of the distribution that is sampled from; 0 takes the likeliest token.")
    top_p: float = Field(0.9, gt=0, le=1, description="Sample from the smallest set of tokens that holds this probability.")
    top_k: int = Field(0, ge=0, description="Sample from this many likeliest tokens; 0 for no limit.")
    max_tokens: int = Field(1024, ge=1, description="Longest answer, in tokens, the end of turn included.")
    seed: int = Field(0, ge=0, description="Seed from which the seed of each row is derived.")


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One answer wanted: `messages` end with the turn to be answered, `seed` is this row's alone and not that of `sampling`."""

    key: Key
    messages: list[Message]
    seed: int
    sampling: Sampling
    labels: tuple[str, ...] = ()
    """Answers of one token whose probabilities are asked for too."""
    may_time_out: bool = False
    """Whether no answer in time is a result of this row alone, timeout, and does not end the stream."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer, or why there is none.

    `text` is None exactly when `finish` is too_long, refused or timeout. `nll` is in nats, summed over `tokens` sampled tokens (the end of turn
    included), under the model at temperature 1 before top-p and top-k; None if nothing was sampled or the engine cannot tell.
    """

    key: Key
    text: str | None
    finish: Finish
    nll: float | None
    tokens: int | None
    retokenized: bool = False
    """Whether its text becomes other tokens when it is read again, so that its likelihood is that of another way to write it."""
    labels: tuple[float, ...] | None = None
    """Probability that the answer begins with each label of the request, spaces aside; None if the engine cannot tell."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Answers to be scored given one prompt; an answer may be the empty text."""

    key: ScoreKey
    messages: list[Message]
    answers: tuple[str, ...]
    cut: frozenset[int] = frozenset()
    """Places of the answers that were cut at their longest, so that no end of turn follows them."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Likelihood of one answer: -ln p in nats, summed over `tokens` answer tokens; `nll` is None if the pair cannot be read whole."""

    nll: float | None
    tokens: int


@dataclass(frozen=True, slots=True)
class Scored:
    """One likelihood for each answer of the request, in its order."""

    key: ScoreKey
    likelihoods: tuple[Likelihood, ...]


class Generator(Protocol):
    """Writes answers."""

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        """One result per request, in any order, matched by `key`; requests are drawn as there is room for them.

        A result is yielded as soon as its answer is finished. What a row gets depends on its messages, its seed and its sampling, not on the rows
        beside it. None among the requests says that there is none now, but may be after the next result; it is said only while one is still to come.

        Raises EngineError if the engine cannot go on; a single bad request is a result, not an error.
        """
        ...

    def close(self) -> None:
        """Frees the memory of the model; nothing may be asked afterwards."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Measures the likelihood of answers."""

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
        """Likelihood of each answer given its prompt, under the chat template of the model.

        Sums -ln p over answer tokens, in nats. The end-of-turn token counts, but for an answer that was cut; prompt and template tokens do not.
        One result per request, in any order, matched by `key`. `nll` is None for what training leaves out too: a pair longer than the context, one that
        the template refuses, an answer with characters that the tokenizer does not know.

        Raises EngineError if the engine cannot go on; a single bad request is a result, not an error.
        """
        ...

    def close(self) -> None:
        """Frees the memory of the model; nothing may be asked afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class RewardRequest:
    """Answers to one prompt."""

    key: Key
    messages: list[Message]
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rewarded:
    """One reward for each answer of the request, in its order; None where prompt and answer do not fit the context."""

    key: Key
    rewards: tuple[float | None, ...]


class Rewarder(Protocol):
    """Tells how good an answer is, in a unit of its own: only differences mean something."""

    def reward(self, requests: Iterable[RewardRequest]) -> Iterator[Rewarded]:
        """One result per request, in any order, matched by `key`; what an answer gets does not depend on those beside it.

        Raises EngineError if the engine cannot go on; a single bad request is a result, not an error.
        """
        ...

    def close(self) -> None:
        """Frees the memory of the model; nothing may be asked afterwards."""
        ...
