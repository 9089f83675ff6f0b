"""A recipe of two phases with two rounds each, and a model that answers it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from fake_model import FakeModel

from sgpo_data.engines import GenerateRequest, Generation

GATES = "gates.max_edit = 1.0\ngates.max_length_ratio = 100.0\ngates.max_repetition = 1.0\ngates.min_edit = 0.0\n"
TWO_BY_TWO = f"""
model = "model"
[[phases]]
name = "improver"
rounds = 2
prompts_per_round = 4
[phases.source]
path = "prompts.jsonl"
[phases.seed]
[phases.improve]
[phases.score-ppl]
[phases.filter]
{GATES}
[phases.pair]
kind = "examples"
[phases.train]
objective = "sft"

[[phases]]
name = "policy"
rounds = 2
prompts_per_round = 5
[phases.source]
path = "prompts.jsonl"
offset = 8
[phases.seed]
[phases.improve]
role = "improve"
[phases.score-ppl]
[phases.filter]
{GATES}
[phases.pair]
[phases.train]
"""
UNTRAINED = TWO_BY_TWO[: TWO_BY_TWO.index("[phases.train]")]


class Plain(FakeModel):
    """Answers with twelve words drawn by the seed of the row: nothing of a template is left in them."""

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        for answer in super().generate(requests):
            seed = (answer.text or "").rpartition(" / ")[2]
            text = " ".join(f"word{seed[at : at + 2]}" for at in range(12))
            yield replace(answer, text=text, tokens=len(text))
