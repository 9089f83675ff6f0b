"""The waterfall of a filter: how many rows each rule drops, one after the other, and how many fail it at all."""

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import duckdb

from sgpo_data.store.dataset import Dataset

KEPT = "kept"
MOST_RULES = 24


@dataclass(frozen=True)
class Drop:
    """One rule of a filter."""

    rule: str
    dropped: int
    """Rows that no rule before drops."""
    left: int
    """Rows after it."""
    failed: int
    """Rows that fail it, whatever drops them."""


@dataclass(frozen=True)
class Waterfall:
    """What became of the rows of a filter."""

    rows: int
    kept: int
    drops: tuple[Drop, ...]
    """In the order of the rules; those that no row fails are left out."""


def waterfall(con: duckdb.DuckDBPyConnection, filtered: Dataset) -> Waterfall:
    """The waterfall of this table, in one pass over its rules.

    Rules beyond MOST_RULES are one, named as what they are.
    """
    filtered.relation(con).create_view("filtered_rows", replace=True)
    query = "SELECT failed_rules, count(*) AS rows FROM filtered_rows WHERE len(failed_rules) > 0 GROUP BY failed_rules ORDER BY rows DESC, failed_rules"
    lists: list[tuple[list[str], int]] = con.execute(query).fetchall()
    outcomes = filtered.manifest.outcomes
    left = rows = filtered.manifest.rows
    drops = []
    for rule in _order([rules for rules, _ in lists]):
        left -= outcomes.get(rule, 0)
        drops.append(Drop(rule, outcomes.get(rule, 0), left, sum(count for rules, count in lists if rule in rules)))
    return Waterfall(rows, outcomes.get(KEPT, 0), _few(drops))


def _order(lists: list[list[str]]) -> list[str]:
    """The rules as they stand in the rows, which have them in their order; those that no row has together, the more frequent first."""
    before: dict[str, list[str]] = {}
    for rules in lists:
        for at, rule in enumerate(rules):
            before.setdefault(rule, []).extend(rules[max(at - 1, 0) : at])
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError:
        return sorted(before)


def _few(drops: list[Drop]) -> tuple[Drop, ...]:
    if len(drops) <= MOST_RULES:
        return tuple(drops)
    rest = drops[MOST_RULES - 1 :]
    other = Drop(f"{len(rest)} other rules", sum(each.dropped for each in rest), rest[-1].left, max(each.failed for each in rest))
    return (*drops[: MOST_RULES - 1], other)
