"""The fences of one strategy of filter: taken from the rows that pass what stands before it, put around every row."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgpo_data.errors import RecipeError
from sgpo_data.stages.filter.strategies import Ppl

if TYPE_CHECKING:
    import duckdb

MAX_GROUPS = 1000
"""Groups beyond which `ppl.group_by` names a key, not a kind of row."""

FIXED = ("rho", "ratio", "margin")
"""Fences that stand in the recipe and hold for all rows."""

_NOT_FACTS = ("fence", "few")

# Fences come as a constant, because a join would lose the order of the rows. A group of too few rows has none.
# No macro as those of filters/: in a chain it would have to be inside itself.
_FENCED = """
CREATE OR REPLACE TEMP VIEW {strategy}_fenced AS
SELECT * EXCLUDE (measure, fence, bounds) REPLACE (
    CASE WHEN measure NOT BETWEEN bounds.low AND bounds.high THEN list_append(failed_rules, '{rule}') ELSE failed_rules END AS failed_rules
)
FROM (SELECT *, getvariable('fences.{rule}')[fence] AS bounds FROM {strategy}_seen)
"""
"""One row per row that was seen: the same, with the rule at the end of those it fails if its measure lies beyond its fence."""


@dataclass(frozen=True)
class Fences:
    """What one strategy keeps; its SQL file has been run."""

    ppl: Ppl
    strategy: str

    @property
    def rule(self) -> str:
        """What it drops by."""
        return self.ppl.rules.get(self.strategy, self.strategy)

    def put(self, con: "duckdb.DuckDBPyConnection", standing: str) -> str:
        """Takes the fences from the rows of this view that fail no rule yet; names the view in which this rule is among those a row fails.

        Raises RecipeError if `ppl.group_by` makes too many groups.
        """
        name = self.strategy
        con.execute(f"CREATE OR REPLACE TEMP VIEW {name}_seen AS FROM {name}_measured('{standing}')")
        con.execute(f"CREATE OR REPLACE TEMP TABLE {self._found} AS FROM {name}_fences('{name}_seen')")
        groups = sum(row["fence"] not in FIXED for row in self._rows(con))
        if groups > MAX_GROUPS:
            raise RecipeError(f"filter: ppl.group_by = {self.ppl.group_by} makes {groups} groups; name a column of at most {MAX_GROUPS} values")
        bounds = "map(list(fence ORDER BY fence), list({low: low::DOUBLE, high: high::DOUBLE} ORDER BY fence))"
        con.execute(f'SET VARIABLE "fences.{self.rule}" = (SELECT {bounds} FROM {self._found} WHERE NOT few)')
        con.execute(_FENCED.format(strategy=name, rule=self.rule))
        return f"{name}_fenced"

    def facts(self, con: "duckdb.DuckDBPyConnection") -> dict[str, float]:
        """Rows and bounds of each fence, by the key of the recipe they belong to and, with `ppl.group_by`, the group."""
        found = {}
        for row in self._rows(con):
            fixed = row["fence"] in FIXED
            place = "ppl" if self.rule == "ppl" else f"ppl.{self.strategy}" if fixed or self.strategy != "sandwich" else "ppl.sandwich.tukey"
            group = "" if fixed or self.ppl.group_by is None else f"[{row['fence']}]"
            for name, value in row.items():
                if name not in _NOT_FACTS and isinstance(value, int | float) and math.isfinite(value):
                    found[f"{place}.{name}{group}"] = value
        return found

    def warnings(self, con: "duckdb.DuckDBPyConnection") -> Iterator[str]:
        """Rules that decide less than one would think.

        Raises RecipeError if margin finds no reward at all.
        """
        rows = self._rows(con)
        small = sorted((row["rows"], str(row["fence"])) for row in rows if row["few"])
        if small:
            count, group = small[0]
            which = "" if self.ppl.group_by is None else f" in {len(small)} groups of {self.ppl.group_by}, such as {group}"
            rule = "perplexity rule" if self.rule == "ppl" else f"fences of {self.strategy}"
            yield f"{count} rows reach the {rule}{which}, fewer than ppl.min_rows = {self.ppl.min_rows}; none is dropped by it; add rows, or lower ppl.min_rows"
        for row in rows:
            measured, undefined = int(str(row["rows"])), int(str(row.get("undefined") or 0))
            if self.strategy == "margin" and undefined and not measured:
                raise RecipeError(
                    "filter: ppl.strategy = margin needs rewards, and no row has one; give score-ppl a reward model or filter verdicts, or leave margin out"
                )
            if undefined > measured:
                yield f"{self.strategy} is undefined for {undefined} of the {undefined + measured} rows that reach it"

    @property
    def _found(self) -> str:
        return f"{self.strategy}_found"

    def _rows(self, con: "duckdb.DuckDBPyConnection") -> list[dict[str, object]]:
        found = con.execute(f"SELECT * FROM {self._found} ORDER BY fence")
        names = [name for name, *_ in found.description or ()]
        return [dict(zip(names, values, strict=True)) for values in found.fetchall()]
