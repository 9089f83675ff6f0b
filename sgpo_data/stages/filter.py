"""filter: which rows are kept, and by which rules the others are dropped."""

import hashlib
import math
from importlib import resources
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from sgpo_data.errors import RecipeError
from sgpo_data.schema import schema
from sgpo_data.stages import Decided, TableStage

if TYPE_CHECKING:
    import duckdb

RULES = ("finished", "changed", "incremental", "not_reference", "length", "repetition", "unique", "unscored", "too_short", "ppl")
"""Names of the rules, in the order in which a row is dropped by them."""

MAX_GROUPS = 1000
"""Groups beyond which `ppl.group_by` names a key, not a kind of row."""

WHOLE = "all rows"
"""The one group there is without `ppl.group_by`."""


class Ppl(BaseModel):
    """Which likelihoods of improved answers are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    strategy: Literal["tukey", "quantile", "none"] = Field(
        "tukey", description="tukey: within Q1 - k IQR and Q3 + k IQR; quantile: between the quantiles low and high; none: any."
    )
    k: float = Field(1.5, gt=0, description="tukey: how many interquartile ranges a row may lie beyond a quartile.")
    low: float = Field(0.01, ge=0, le=1, description="quantile: the lowest quantile that is kept.")
    high: float = Field(0.95, ge=0, le=1, description="quantile: the highest quantile that is kept.")
    space: Literal["nll", "ppl"] = Field("nll", description="What is compared: mean nats per token, or their exponential, the perplexity.")
    side: Literal["both", "upper", "lower"] = Field("both", description="Which of the two fences drop rows.")
    group_by: str | None = Field(None, description="A column of scored: each of its values, null too, gets fences of its own.")
    min_rows: int = Field(40, ge=1, description="A group with fewer rows that fail no other rule loses none by its perplexity.")
    min_tokens: int = Field(8, ge=0, description="too_short: fewest tokens of an improved answer, the end of turn included.")

    @field_validator("group_by")
    @classmethod
    def _is_column(cls, value: str | None) -> str | None:
        if value is not None and value not in schema("scored").column_names:
            raise ValueError(f"no column {value} in scored; the columns are {', '.join(schema('scored').column_names)}")
        return value

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} is not below high = {self.high}")
        return self


class Gates(BaseModel):
    """Which rewrites are incremental, yet discernible, as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_edit: float = Field(0.05, ge=0, le=1, description="changed: fewest words edited, as a share of the longer answer.")
    min_edited_words: int = Field(8, ge=0, description="changed: fewest words edited; for a longer answer of n < 32 words, a quarter of n, rounded up.")
    max_edit: float = Field(0.9, ge=0, le=1, description="incremental: most words edited, as a share of the longer answer.")
    min_reference_edit: float = Field(
        0.02, ge=0, le=1, description="not_reference, role refine only: least distance from the reference, as a share of the longer text; 0 allows copies."
    )
    min_length_ratio: float = Field(0.5, ge=0, description="length: least ratio of improved words to response words.")
    max_length_ratio: float = Field(2.0, gt=0, description="length: greatest ratio of improved words to response words.")
    max_repetition: float = Field(0.5, ge=0, le=1, description="repetition: greatest share of the word 4-grams of the improved answer that stood in it before.")
    unique: bool = Field(True, description="unique: drop an improved answer that a lower sample of its prompt, passing the gates above, gave already.")

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        for name, low, high in (("edit", self.min_edit, self.max_edit), ("length_ratio", self.min_length_ratio, self.max_length_ratio)):
            if low > high:
                raise ValueError(f"min_{name} = {low} is above max_{name} = {high}")
        return self


class Filter(TableStage):
    """Decide which rows are kept: text gates first, then the likelihood of the improved answer.

    Every row stays. Rules, in order: finished (both answers whole, not empty, without residue), changed, incremental, not_reference,
    length, repetition, unique, unscored (finished, but without a likelihood), too_short, ppl. A rule whose measure is null is not failed.
    Fences of ppl are taken from the rows that fail no other rule.
    """

    stage_name: ClassVar[str] = "filter"
    revision: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("scored",)
    outcome: ClassVar[str] = "coalesce(dropped_by, 'kept')"

    gates: Gates = Field(default_factory=Gates, description="Bounds on the text.")
    ppl: Ppl = Field(default_factory=Ppl, description="Bounds on the likelihood.")

    @property
    def writes(self) -> str:
        """`filtered`."""
        return "filtered"

    def identity(self) -> JsonValue:
        """The fields, and the SHA-256 of each SQL file that is run."""
        digests = {name: hashlib.sha256(_sql(name).encode()).hexdigest() for name in self._files}
        return {**self.model_dump(mode="json"), "sql": digests}

    def table(self, con: "duckdb.DuckDBPyConnection", source: str) -> Decided:
        """Every row of `input`, in its order or, where an answer is repeated, in key order.

        Raises RecipeError if `ppl.group_by` makes too many groups.
        """
        self._set_variables(con)
        con.execute(f'CREATE OR REPLACE TEMP VIEW grouped AS SELECT *, {self._group} AS "group" FROM input')
        gates, *others = self._files
        con.execute(_sql(gates))
        ((repeated,),) = con.execute("SELECT count(*) FROM repeated").fetchall()
        if not repeated:
            # Any join, even with no rows, would lose the order of the rows and cost a sort of all texts.
            con.execute("CREATE OR REPLACE TEMP MACRO is_repeated(a, b) AS false")
        for name in others:
            con.execute(_sql(name))
        facts = self._facts(con)
        rows = con.sql(f"SELECT {', '.join(map(_quoted, schema('filtered').column_names))} FROM decided")
        return Decided(
            rows=rows.order("prompt_id, sample") if repeated else rows,
            warnings=(*self._small_groups(con), *_nothing_kept(con)),
            facts=facts,
        )

    @property
    def _files(self) -> tuple[str, ...]:
        return "gates.sql", "judged.sql", f"{self.ppl.strategy}.sql", "decided.sql"

    @property
    def _group(self) -> str:
        if self.ppl.group_by is None:
            return f"'{WHOLE}'"
        # As JSON, null and the text 'null' are two groups.
        return f"coalesce(to_json({_quoted(self.ppl.group_by)})::VARCHAR, 'null')"

    def _set_variables(self, con: "duckdb.DuckDBPyConnection") -> None:
        for prefix, part in (("gates", self.gates), ("ppl", self.ppl)):
            for name, value in part.model_dump().items():
                con.execute(f"SET VARIABLE {_quoted(f'{prefix}.{name}')} = ?", [value])

    def _facts(self, con: "duckdb.DuckDBPyConnection") -> dict[str, float]:
        fences = con.execute('SELECT * FROM fences ORDER BY "group"')
        names = [name for name, *_ in fences.description or ()]
        found = [dict(zip(names, values, strict=True)) for values in fences.fetchall()]
        if len(found) > MAX_GROUPS:
            raise RecipeError(f"filter: ppl.group_by = {self.ppl.group_by} makes {len(found)} groups; name a column of at most {MAX_GROUPS} values")
        return {
            f"ppl.{name}" if self.ppl.group_by is None else f"ppl.{name}[{fence['group']}]": value
            for fence in found
            for name, value in fence.items()
            if name != "group" and value is not None and math.isfinite(value)
        }

    def _small_groups(self, con: "duckdb.DuckDBPyConnection") -> list[str]:
        small = con.execute('SELECT "group", rows FROM fences WHERE rows < ? ORDER BY rows, "group"', [self.ppl.min_rows]).fetchall()
        if not small:
            return []
        group, rows = small[0]
        which = "" if self.ppl.group_by is None else f" in {len(small)} groups of {self.ppl.group_by}, such as {group}"
        return [f"{rows} rows reach the perplexity rule{which}, fewer than ppl.min_rows = {self.ppl.min_rows}; none is dropped by it"]


def _nothing_kept(con: "duckdb.DuckDBPyConnection") -> list[str]:
    if con.execute("SELECT 1 FROM decided WHERE dropped_by IS NULL LIMIT 1").fetchall():
        return []
    first = con.execute("SELECT dropped_by, count(*) AS rows FROM decided GROUP BY dropped_by ORDER BY rows DESC, dropped_by").fetchall()
    dropped = ", ".join(f"{rule} {rows}" for rule, rows in first)
    return [f"no row is kept of {sum(rows for _, rows in first)}; dropped by {dropped or 'nothing, the table is empty'}"]


def _sql(name: str) -> str:
    return resources.files("sgpo_data.filters").joinpath(name).read_text(encoding="utf-8")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
