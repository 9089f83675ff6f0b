"""How a raw source is read: the options, which decide its prompts."""

import hashlib
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sgpo_data.shapes import PART_NAMES


def _mapping(columns: tuple[str, ...]) -> tuple[str, ...]:
    for entry in columns:
        part, equals, column = entry.partition("=")
        if not (equals and column) or part not in PART_NAMES:
            raise ValueError(f"{entry!r} is not part=column; the parts are {', '.join(PART_NAMES)}")
    if len({entry.partition("=")[0] for entry in columns}) < len(columns):
        raise ValueError("a part stands twice")
    return columns


class Source(BaseModel):
    """How a raw source is read.

    All rows are read and exact duplicates merged; then prompts are held out, each by a hash of its own id; then the rest is ordered and cut.
    So with one seed, disjoint (offset, limit) are disjoint prompts, and a prompt that is held out is so in every source that holds it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: str | None = Field(None, description="Hub only: configuration of the dataset.")
    split: str = Field("train", description="Hub only: split of the dataset.")
    revision: str | None = Field(None, description="Hub only: commit, or a branch or tag that is resolved to one.")
    shape: Literal["auto", "messages", "prompt", "instruction", "question", "preference"] = Field(
        "auto", description="What a row is; auto tells it by the names of the columns."
    )
    columns: Annotated[tuple[str, ...], AfterValidator(_mapping)] = Field((), description="Columns of other names, as part=column: prompt=q.")
    limit: int | None = Field(None, ge=1, description="Take at most this many prompts.")
    offset: int = Field(0, ge=0, description="Leave out this many prompts first.")
    shuffle_seed: int | None = Field(None, ge=0, description="Order prompts by a hash of this and their id; without it they stay in the order of the source.")
    held_out: float = Field(0.0, ge=0, lt=1, description="Share of the prompts that is held out, drawn by a hash of their id.")
    take: Literal["train", "held_out"] = Field("train", description="Which prompts to take: those that are not held out, or those that are.")

    @model_validator(mode="after")
    def _something_is_held_out(self) -> Self:
        if self.take == "held_out" and not self.held_out:
            raise ValueError("take = held_out needs held_out above 0")
        return self

    def takes(self, prompt_id: str) -> bool:
        """Whether this prompt is on the side that `take` names; a greater share holds out the same prompts and more."""
        if not self.held_out:
            return True
        drawn = int.from_bytes(hashlib.sha256(f"held_out/{prompt_id}".encode()).digest()[:8], "big") / 2**64
        return (drawn < self.held_out) == (self.take == "held_out")
