"""filter: which rows are kept, and by which rules the others are dropped."""

import hashlib
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from sgpo_data.connection import quoted
from sgpo_data.errors import RecipeError, first_line
from sgpo_data.schema import schema
from sgpo_data.stages import Decision, TableStage
from sgpo_data.stages.filter.fences import Fences
from sgpo_data.stages.filter.predicate import Predicate, RuleName, in_parentheses
from sgpo_data.stages.filter.strategies import STRATEGIES, Ppl

if TYPE_CHECKING:
    import duckdb

GATES = ("finished", "changed", "incremental", "not_reference", "length", "repetition")
"""Rules that look at one row's text measures, before the recipe's own."""

AFTER = ("unique", "unscored", "too_short")
"""Rules that stand behind the recipe's own, before the strategies."""

WHOLE = "all rows"
"""The one group there is without `ppl.group_by`."""


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
    length, repetition; the recipe's own, in the order they are written; unique, unscored (finished, but without a likelihood), too_short; then each
    strategy of ppl.strategy: ppl (tukey or quantile), sandwich, ratio, margin. dropped_by is the first that a row fails.
    A rule whose measure is null is not failed, and NaN and infinity count as null; a row on a bound is kept, and so are ties. What a strategy takes
    from the table, such as quartiles, it takes from the rows that fail no rule before it; under ppl.min_rows of them it drops none. No row in is no
    row out.

    With verdicts of a judge or of people on its rewrites, improved_reward is how far the rewrite is preferred, from 0 to 1, response_reward the rest:
    margin and your own rules read them as those of a reward model.
    """

    stage_name: ClassVar[str] = "filter"
    revision: ClassVar[int] = 2
    reads: ClassVar[tuple[str, ...]] = ("scored",)
    makes: ClassVar[tuple[str, ...]] = ("filtered",)
    outcome: ClassVar[str] = "coalesce(dropped_by, 'kept')"
    takes_verdicts: ClassVar[bool] = True

    gates: Gates = Field(default_factory=Gates, description="Bounds on the text.")
    rules: dict[RuleName, Predicate] = Field(
        default_factory=dict,
        description="A rule of your own: an SQL expression over the columns of scored that is true for a row that is kept, such as improved_words < 400.",
    )
    ppl: Ppl = Field(default_factory=Ppl, description="Bounds on the likelihood.")

    @field_validator("rules")
    @classmethod
    def _are_new_names(cls, value: dict[str, str]) -> dict[str, str]:
        taken = sorted({*GATES, *AFTER, *STRATEGIES, "ppl", "kept"} & set(value))
        if taken:
            raise ValueError(f"{taken[0]} is a rule already; give this one another name")
        return value

    @property
    def rule_names(self) -> tuple[str, ...]:
        """All rules, in the order in which a row is dropped by them."""
        return *GATES, *self.rules, *AFTER, *self.ppl.rules.values()

    def identity(self) -> JsonValue:
        """The fields, the order of the recipe's own rules, and the SHA-256 of each SQL file that is run."""
        files = "gates.sql", "judged.sql", *(f"{name}.sql" for name in self.ppl.chain)
        digests = {name: hashlib.sha256(_sql(name).encode()).hexdigest() for name in files}
        return {**self.model_dump(mode="json"), "rule_order": list(self.rules), "sql": digests}

    def table(self, con: "duckdb.DuckDBPyConnection", source: str) -> Decision:
        """Every row of `input`, in its order.

        Raises RecipeError if a rule of the recipe's own fails on a row, if `ppl.group_by` makes too many groups, or if margin finds no reward.
        """
        self._set_variables(con)
        self._try_rules(con)
        con.execute(f'CREATE OR REPLACE TEMP VIEW ruled AS SELECT *, {self._group} AS "group", {self._own_rules} AS own_rules FROM input')
        con.execute(_sql("gates.sql"))
        con.execute(_sql("judged.sql"))
        standing, facts, warnings = "judged", dict[str, float](), list[str]()
        for strategy in self.ppl.chain:
            con.execute(_sql(f"{strategy}.sql"))
            fences = Fences(self.ppl, strategy)
            standing = fences.put(con, standing)
            facts |= fences.facts(con)
            warnings += fences.warnings(con)
        con.execute(f"CREATE OR REPLACE TEMP VIEW decided AS SELECT *, failed_rules[1] AS dropped_by FROM {standing}")
        made = schema("filtered")
        rows, beside = (con.sql(f"SELECT {', '.join(map(quoted, names))} FROM decided") for names in (made.column_names, ("position", *made.own.column_names)))
        return Decision(rows=rows, warnings=(*warnings, *_nothing_kept(con)), facts=facts, beside=beside)

    @property
    def _group(self) -> str:
        if self.ppl.group_by is None:
            return f"'{WHOLE}'"
        # As JSON, null and the text 'null' are two groups.
        return f"coalesce(to_json({quoted(self.ppl.group_by)})::VARCHAR, 'null')"

    @property
    def _own_rules(self) -> str:
        """A list of the names of the own rules that a row fails, null in the place of those it does not."""
        rules = [f"CASE WHEN NOT {in_parentheses(predicate)} THEN '{name}' END" for name, predicate in self.rules.items()]
        return f"[{', '.join(rules)}]::VARCHAR[]"

    def _try_rules(self, con: "duckdb.DuckDBPyConnection") -> None:
        """Evaluates each own rule on every row, so that one that fails has a name: a cast of a text that is no number, for example."""
        import duckdb

        for name, predicate in self.rules.items():
            try:
                con.execute(f"SELECT count(*) FROM input WHERE NOT {in_parentheses(predicate)}").fetchall()
            except (duckdb.DataError, duckdb.ProgrammingError) as error:
                raise RecipeError(f"filter: rules.{name}: {' '.join(first_line(error).split())}; mend it, for example with TRY(...)") from error

    def _set_variables(self, con: "duckdb.DuckDBPyConnection") -> None:
        for name, value in _flat("", {"gates": self.gates.model_dump(), "ppl": self.ppl.model_dump()}):
            con.execute(f"SET VARIABLE {quoted(name)} = ?", [value])
        con.execute("SET VARIABLE last_position = (SELECT coalesce(max(position), 0) FROM input)")


def _nothing_kept(con: "duckdb.DuckDBPyConnection") -> list[str]:
    if con.execute("SELECT 1 FROM decided WHERE dropped_by IS NULL LIMIT 1").fetchall():
        return []
    first = con.execute("SELECT dropped_by, count(*) AS rows FROM decided GROUP BY dropped_by ORDER BY rows DESC, dropped_by").fetchall()
    dropped = ", ".join(f"{rule} {rows}" for rule, rows in first)
    return [f"no row is kept of {sum(rows for _, rows in first)}; dropped by {dropped or 'nothing, the table is empty'}"]


def _sql(name: str) -> str:
    return resources.files("sgpo_data.stages.filter").joinpath(name).read_text(encoding="utf-8")


def _flat(prefix: str, values: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", value
