"""seed: the policy answers every prompt."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from pydantic import Field

from sgpo_data.engines import GenerateRequest, Generation, Generator, Key, Sampling
from sgpo_data.rows import Row
from sgpo_data.stages import GeneratingStage, ModelRole, row_key, row_seed


class Seed(GeneratingStage):
    """Answer every prompt with the model: one row per prompt and sample."""

    stage_name: ClassVar[str] = "seed"
    revision: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("prompts",)
    outcome: ClassVar[str] = "finish"
    model_role: ClassVar[ModelRole] = "policy"

    samples: int = Field(1, ge=1, description="Answers to each prompt.")
    sampling: Sampling = Sampling()

    @property
    def writes(self) -> str:
        """The table it makes."""
        return "responses"

    def items(self, row: Row) -> Iterator[Row]:
        """One row per sample."""
        for sample in range(self.samples):
            yield {**row, "sample": sample}

    def rows(self, rows: Iterable[Row], generator: Generator, author: str) -> Iterator[Row]:
        """Every row with its response, in any order."""
        waiting: dict[Key, Row] = {}

        def requests() -> Iterator[GenerateRequest]:
            for row in rows:
                key = row_key(row)
                waiting[key] = row
                yield GenerateRequest(key, row["messages"], row_seed(self.sampling.seed, self.stage_name, key))

        for result in generator.generate(requests(), self.sampling):
            yield _answered(waiting.pop(result.key), result, author)


def _answered(row: Row, result: Generation, policy: str) -> Row:
    return {
        **row,
        "response": result.text,
        "finish": result.finish,
        "sampled_nll": result.nll,
        "sampled_tokens": result.tokens,
        "policy": policy,
    }
