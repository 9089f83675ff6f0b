"""What a stage is: a pure step from rows to rows, whose fields are its recipe entry and its flags."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from sgpo_data.engines import ChatTemplate, GenerateRequest, Generation, Key, Rewarder, Scorer
from sgpo_data.engines.loading import Work
from sgpo_data.rows import Row

if TYPE_CHECKING:
    import duckdb

    from sgpo_data.stages.improve.templates import Template

ENGINE_MODEL = "Model folder, org/name@revision, or openai:NAME at a server"


@dataclass(frozen=True)
class ModelRole:
    """A part that a model has in a stage."""

    name: str
    """The column that names the model, and its key in the manifest; in a recipe, the key of a phase that names it, where it has one."""
    flag: str
    help: str
    unnamed: Literal["policy", "origin", "none"]
    """Which model it is if none is named: the policy of the input, the one that the lineage of the input began with, or none at all."""


class Stage(BaseModel):
    """A pure step: no paths, no network, no globals, no printing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage_name: ClassVar[str]
    """As in the recipe and on the command line."""
    revision: ClassVar[int]
    """Raised when the same fields begin to give other rows."""
    reads: ClassVar[tuple[str, ...]]
    """Tables it takes, the usual one first."""
    makes: ClassVar[tuple[str, ...]]
    """Tables it can write, the usual one first."""
    outcome: ClassVar[str]
    """SQL over the table it writes: the name each row is counted under in the manifest."""

    @property
    def writes(self) -> str:
        """Which of `makes` it writes."""
        return self.makes[0]

    def identity(self) -> JsonValue:
        """All that decides its rows besides inputs and models, as JSON: the fields, with the bytes of what they name."""
        return self.model_dump(mode="json")

    def rows_made(self, rows: int) -> int | None:
        """How many rows it makes from this many; None if that depends on what they hold."""
        return rows


class RowStage(Stage, ChatTemplate):
    """A stage that fills rows one by one, with a model."""

    model_role: ClassVar[ModelRole]
    """Of the model that fills its rows."""
    work: ClassVar[Work]
    """What it asks of an engine."""

    engine: Literal["auto", "transformers", "vllm", "openai"] = Field("auto", description="What runs the model.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Type of the weights; auto for that of the checkpoint.")
    quantization: Literal["fp8", "bitsandbytes"] | None = Field(None, description="Weights made smaller as they are loaded; for engine vllm.")
    context_tokens: int | None = Field(None, ge=8, description="Longest prompt and answer together, in tokens; the model's own limit if not given.")

    def items(self, row: Row) -> Iterator[Row]:
        """The rows, still to be filled, that one input row becomes; every input row becomes the same number of them."""
        yield row

    def settled(self, row: Row, author: str) -> Row | None:
        """The finished row if it needs no model, else None."""
        return None

    def unfit(self, rows: Iterable[Row]) -> str | None:
        """Why none of the rows is of use to it, None if one is; as few are read as tell."""
        return None


class GeneratingStage(RowStage):
    """A row-wise stage whose model writes."""

    work: ClassVar[Work] = "generate"

    @abstractmethod
    def request(self, row: Row) -> GenerateRequest:
        """What the model is asked for this item."""

    @abstractmethod
    def answered(self, row: Row, answer: Generation, author: str) -> Row:
        """The item filled with the answer; `author` is the identity of the model."""


class Reward(BaseModel):
    """How the reward model is loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Type of the reward model's weights; auto for that of the checkpoint.")
    context_tokens: int | None = Field(None, ge=8, description="Longest conversation the reward model is given, in tokens; its own limit if not given.")


class ScoringStage(RowStage):
    """A row-wise stage whose model measures, with a reward model beside it if one is named."""

    work: ClassVar[Work] = "score"
    reward_role: ClassVar[ModelRole]
    """Of the reward model."""

    reward: Reward = Field(default_factory=Reward, description="How the reward model is loaded.")

    @abstractmethod
    def rows(self, rows: Iterable[Row], scorer: Scorer, author: str, templates: "tuple[Template, ...]" = ()) -> Iterator[Row]:
        """Every item filled, in any order; `author` is the identity of the model, `templates` are those that the rewrites were asked for with."""

    @abstractmethod
    def rewarded(self, rows: Iterable[Row], rewarder: Rewarder, author: str) -> Iterator[Row]:
        """Every filled item with its rewards, in any order; `author` is the identity of the reward model."""


@dataclass(frozen=True)
class Decision:
    """What a table-wise stage gives: a lazy relation of exactly its schema's columns, in a fixed order of rows."""

    rows: "duckdb.DuckDBPyRelation"
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)
    """Numbers it took from the table, such as fences; they stand in the manifest."""
    beside: "duckdb.DuckDBPyRelation | None" = None
    """Of a stage that keeps every row as it is, in its order: `position` and the columns that its table adds to those of its input."""


class TableStage(Stage):
    """A stage that decides over the whole table, in SQL."""

    takes_verdicts: ClassVar[bool] = False
    """Whether rows of `evaluations` may be given beside the table; the rewards of its rows are then what they say."""
    needs_rows: ClassVar[bool] = False
    """Whether a table without rows is of no use, so that a chain had better stop."""

    @abstractmethod
    def table(self, con: "duckdb.DuckDBPyConnection", source: str) -> Decision:
        """The rows made of view `input` of this connection, which holds table `source`, and in column `position` the number of each row from 0.

        Its temporary views and variables stay in the connection, which is this run's alone.
        """


def row_key(row: Row) -> Key:
    """(prompt_id, sample)."""
    return row["prompt_id"], row["sample"]


def row_seed(seed: int, stage: str, key: Key) -> int:
    """The sampling seed of one row, below 2**63: the same wherever, whenever and beside whatever the row is run."""
    text = f"{seed}/{stage}/{key[0]}/{key[1]}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
