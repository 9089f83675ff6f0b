"""seed: the policy answers every prompt."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from sgpo_data.engines import GenerateRequest, Generation, Sampling
from sgpo_data.rows import Finish, Row
from sgpo_data.stages import ENGINE_MODEL, GeneratingStage, ModelRole, row_key, row_seed


class Seed(GeneratingStage):
    """Answer every prompt with the model: one row per prompt and sample.

    A prompt that its source marked as a near duplicate or as contaminated is not asked: its rows say so in finish.
    """

    stage_name: ClassVar[str] = "seed"
    revision: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("prompts",)
    makes: ClassVar[tuple[str, ...]] = ("responses",)
    outcome: ClassVar[str] = "finish"
    model_role: ClassVar[ModelRole] = ModelRole("policy", "--model", f"{ENGINE_MODEL}.", unnamed="policy")

    samples: int = Field(1, ge=1, description="Answers to each prompt.")
    sampling: Sampling = Sampling()

    def rows_made(self, rows: int) -> int:
        """As many for each prompt as there are samples."""
        return rows * self.samples

    def items(self, row: Row) -> Iterator[Row]:
        """One row per sample; the answers to a prompt that came with several references are samples of each of them."""
        for sample in range(self.samples):
            yield {**row, "sample": row["sample"] * self.samples + sample}

    def settled(self, row: Row, author: str) -> Row | None:
        """The finished row if its prompt is marked, so that nothing is to be made of it."""
        if row["contaminated_by"] is not None:
            return self.answered(row, _not_asked(row, "contaminated"), author)
        if row["duplicate_of"] is not None:
            return self.answered(row, _not_asked(row, "duplicate"), author)
        return None

    def request(self, row: Row) -> GenerateRequest:
        """The prompt as it is."""
        key = row_key(row)
        return GenerateRequest(key, row["messages"], row_seed(self.sampling.seed, self.stage_name, key), self.sampling)

    def answered(self, row: Row, answer: Generation, author: str) -> Row:
        """The row with its response."""
        return {
            **row,
            "response": answer.text,
            "finish": answer.finish,
            "sampled_nll": answer.nll,
            "sampled_tokens": answer.tokens,
            "policy": author,
        }


def _not_asked(row: Row, finish: Finish) -> Generation:
    return Generation(row_key(row), text=None, finish=finish, nll=None, tokens=None)
