"""How the numbers of two tables are apart: quantiles, standardised mean difference, Kolmogorov-Smirnov distance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from sgpo_data.analysis.look import NUMBERS, SHARES, TEXT, Quantiles, is_conversation, perplexities
from sgpo_data.connection import quoted
from sgpo_data.schema import schema

SAMPLE_ROWS = 1_000_000
"""Larger tables are measured on about that many rows, drawn by a hash of the key, the same ones in both."""


TEXTS = ("reference", "rejected", "response", "improved")
"""Columns whose length tells something; other texts name something."""


@dataclass(frozen=True)
class Side:
    """A number in one of the tables, over the rows that have it."""

    rows: int
    mean: float
    deviation: float | None
    """Standard deviation; None for a single row."""
    quantiles: Quantiles
    """Least, 5 %, 50 %, 95 %, greatest."""


@dataclass(frozen=True)
class Shift:
    """A number in both tables."""

    name: str
    sampled: bool
    """Whether the tables were sampled."""
    a: Side | None
    b: Side | None
    """None if no row has the number."""
    standardised: float | None
    """Difference of the means in pooled standard deviations, B less A; None where there is none."""
    distance: float | None
    """Greatest difference of the two cumulative shares, from 0 to 1 (Kolmogorov-Smirnov)."""


def shifts(con: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str], *, rows: int, key: str) -> tuple[Shift, ...]:
    """Shifts from view `a` to view `b` of this table in these columns, and in what is derived from them; furthest apart first.

    `rows` is the size of the larger one, `key` the expression that rows are drawn by.
    """
    numbers = _numbers(table, columns)
    if not numbers:
        return ()
    every = max(1, round(rows / SAMPLE_ROWS))
    # Casts to DOUBLE keep what is not finite out: quantiles and means of it tell nothing.
    values = ", ".join(f"CASE WHEN isfinite(({value})::DOUBLE) THEN ({value})::DOUBLE END AS value_{number}" for number, value in enumerate(numbers.values()))
    for side in ("a", "b"):
        con.execute(f"CREATE OR REPLACE TEMP TABLE numbers_{side} AS SELECT {values} FROM {side} WHERE {key} % {every} = 0")
    found = [
        Shift(name, every > 1, a, b, _standardised(a, b), _distance(con, number) if a and b else None)
        for number, name in enumerate(numbers)
        for a, b in [(_side(con, "a", number), _side(con, "b", number))]
        if a or b
    ]
    return tuple(sorted(found, key=lambda shift: -(shift.distance if shift.distance is not None else 1)))


def _numbers(table: str, columns: Sequence[str]) -> dict[str, str]:
    """What is measured, as SQL, by name: numbers, perplexities of those, characters of texts."""
    declared = [column for column in schema(table).columns if column.name in columns]
    found = {column.name: quoted(column.name) for column in declared if column.sql_type in NUMBERS and column.name not in schema(table).key}
    ratios = perplexities(schema(table).columns)
    found |= {name: f"exp({ratio})" for name, ratio in ratios.items() if any(part in columns for part in ratio.split(" / "))}
    found |= {f"{column.name} characters": f"length({quoted(column.name)})" for column in declared if column.name in TEXTS and column.sql_type == TEXT}
    turns = "list_sum(list_transform({}, lambda turn: length(turn.content)))"
    return found | {f"{column.name} characters": turns.format(quoted(column.name)) for column in declared if is_conversation(column)}


def _side(con: duckdb.DuckDBPyConnection, side: str, number: int) -> Side | None:
    value = f"value_{number}"
    query = f"SELECT count({value}), avg({value}), stddev_samp({value}), min({value}), quantile_cont({value}, {list(SHARES)}), max({value}) FROM numbers_{side}"
    ((rows, mean, deviation, least, middle, greatest),) = con.execute(query).fetchall()
    return Side(rows, mean, deviation, (least, *middle, greatest)) if rows else None


def _standardised(a: Side | None, b: Side | None) -> float | None:
    if a is None or b is None or a.deviation is None or b.deviation is None:
        return None
    pooled = math.sqrt((a.deviation**2 + b.deviation**2) / 2)
    return (b.mean - a.mean) / pooled if pooled else None


def _distance(con: duckdb.DuckDBPyConnection, number: int) -> float:
    value = f"value_{number}"
    query = f"""
        SELECT max(abs(share_a - share_b))
        FROM (
            SELECT sum(a) OVER upward / sum(a) OVER () AS share_a, sum(b) OVER upward / sum(b) OVER () AS share_b
            FROM (
                SELECT value, count_if(side = 'a') AS a, count_if(side = 'b') AS b
                FROM (SELECT {value} AS value, 'a' AS side FROM numbers_a UNION ALL SELECT {value}, 'b' FROM numbers_b)
                WHERE value IS NOT NULL
                GROUP BY value
            )
            WINDOW upward AS (ORDER BY value ROWS UNBOUNDED PRECEDING)
        )
    """
    ((distance,),) = con.execute(query).fetchall()
    return float(distance)
