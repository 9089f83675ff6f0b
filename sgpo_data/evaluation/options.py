"""How the model of a phase is evaluated: a public set that it answers, and a judge that holds its answers against a baseline's."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from sgpo_data.evaluation.judge.prompt import SHIPPED, load_prompt
from sgpo_data.evaluation.judge.stage import Judge
from sgpo_data.stages.seed import Seed

BASELINE = "recipe"
SET = "A set by name (alpaca_eval, arena_hard, ifeval), or a file in the layout of one, here or on the Hub."


class Questions(BaseModel):
    """Which questions are asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    set: str = Field(description=SET)


def _follow_the_prompt(value: object) -> object:
    """A prompt that ships here says how its verdict is read and how long it may be, unless the recipe does."""
    if not isinstance(value, Mapping) or not isinstance(name := value.get("prompt"), str):
        return value
    if name not in SHIPPED:
        raise ValueError(f"prompt: no such prompt; give {' or '.join(SHIPPED)} (got {name})")
    reading, tokens = SHIPPED[name]
    sampling = value.get("sampling", {})
    longest = {"max_tokens": tokens, **sampling} if isinstance(sampling, Mapping) else sampling
    return {"reading": reading, **value, "prompt": load_prompt(name), "sampling": longest}


Verdicts = Annotated[Judge, BeforeValidator(_follow_the_prompt)]
"""How a judge is asked, as recipes say it: a prompt is named."""


class Evaluate(Questions):
    """Evaluate the model that comes out of each round: it answers a set; the answers to IFEval are checked, any are judged against a baseline's."""

    judge: str | None = Field(None, description="The model that judges: recipe, that of an earlier phase, a model, or openai:NAME; nobody if not given.")
    baseline: str = Field(
        BASELINE,
        description="Whose answers those of the model are judged against: recipe, start (the model that the round starts from), that of an earlier phase, a "
        "model, or an official file of answers.",
    )
    answers: Seed = Field(default_factory=Seed, description="How it answers: keys of seed, all but samples.")
    verdicts: Verdicts = Field(default_factory=Judge, description="How the judge is asked: flags of sgpo evaluate judge.")

    @field_validator("answers")
    @classmethod
    def _answers_once(cls, value: Seed) -> Seed:
        if value.samples != 1:
            raise ValueError(f"samples: each question is answered once (got {value.samples}); remove it")
        return value

    @model_validator(mode="after")
    def _baseline_has_a_judge(self) -> Self:
        if self.judge is None and self.baseline != BASELINE:
            raise ValueError(f"baseline: there is no judge to use it (got {self.baseline}); name one with judge")
        return self
