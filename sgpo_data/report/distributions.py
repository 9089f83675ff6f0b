"""The perplexities of a round as histograms, and the fences that its filter drew among them."""

import math
from dataclasses import dataclass

import duckdb

from sgpo_data.store.dataset import Dataset

ANSWERS = ("response", "improved", "reference")
BINS = 48
FENCES = tuple(f"{place}.{side}" for place in ("ppl", "ppl.tukey", "ppl.quantile") for side in ("low", "high"))
"""Facts of a filter that bound the likelihood of a rewrite; in a chain, of the strategies behind the first."""
TAIL = 0.01
"""Share of the values at either end that is gathered in the outermost bin."""


@dataclass(frozen=True)
class Histogram:
    """The perplexities of one kind of answer."""

    of: str
    rows: int
    median: float | None
    """As a perplexity."""
    shares: tuple[float, ...]
    """Of its rows, by bin."""


@dataclass(frozen=True)
class Distribution:
    """The perplexities of a round, in bins of equal width in nats per token."""

    low: float
    high: float
    """Nats per token at the outer edges."""
    histograms: tuple[Histogram, ...]
    fences: tuple[float, ...]
    """Perplexities beyond which the filter drops a rewrite; none if no row was dropped so, or if each group had its own."""
    groups: int
    """Groups with fences of their own."""

    def edge(self, number: int) -> float:
        """The lower edge of a bin, as a perplexity."""
        return math.exp(self.low + (self.high - self.low) * number / BINS)


def distribution(con: duckdb.DuckDBPyConnection, scored: Dataset, filtered: Dataset | None) -> Distribution | None:
    """The perplexities of this table in two passes, None if no answer has a likelihood."""
    scored.relation(con).create_view("scored_rows", replace=True)
    ranges = {of: _range(con, of) for of in ANSWERS}
    known = {of: found for of, found in ranges.items() if found is not None}
    if not known:
        return None
    fences, groups = _fences(filtered)
    nats = [math.log(fence) for fence in fences]
    low, high = min([*nats, *(each[0] for each in known.values())]), max([*nats, *(each[2] for each in known.values())])
    margin = max(0.02 * (high - low), 0.01)
    low, high = max(low - margin, 0.0), high + margin
    return Distribution(low, high, tuple(_histogram(con, of, found[1], low, high) for of, found in known.items()), fences, groups)


def _range(con: duckdb.DuckDBPyConnection, of: str) -> tuple[float, float, float] | None:
    """Nats per token near the least, in the middle and near the greatest."""
    ((found,),) = con.execute(f"SELECT approx_quantile(value::DOUBLE, [{TAIL}, 0.5, {1 - TAIL}]) FROM ({_values(of)})").fetchall()
    return None if found is None else (float(found[0]), float(found[1]), float(found[2]))


def _histogram(con: duckdb.DuckDBPyConnection, of: str, median: float, low: float, high: float) -> Histogram:
    query = f"SELECT greatest(least(floor((value - ?) / ? * {BINS}), {BINS - 1}), 0)::INTEGER AS bin, count(*) FROM ({_values(of)}) GROUP BY bin"
    counts = dict(con.execute(query, [low, high - low]).fetchall())
    rows = sum(counts.values())
    return Histogram(of, rows, math.exp(min(median, 700)), tuple(counts.get(number, 0) / rows for number in range(BINS)))


def _values(of: str) -> str:
    return f"SELECT {of}_nll / {of}_tokens AS value FROM scored_rows WHERE {of}_tokens > 0 AND isfinite({of}_nll)"


def _fences(filtered: Dataset | None) -> tuple[tuple[float, ...], int]:
    """Fences as perplexities, and the number of groups that have their own."""
    if filtered is None:
        return (), 0
    facts = filtered.manifest.facts
    groups = sum(name.startswith("ppl.rows[") for name in facts)
    found = [facts[name] for name in FENCES if name in facts]
    fields = filtered.manifest.identity.fields
    ppl = fields.get("ppl") if isinstance(fields, dict) else None
    in_nats = not isinstance(ppl, dict) or ppl.get("space", "nll") == "nll"
    perplexities = [math.exp(min(fence, 700)) if in_nats else fence for fence in found]
    # A lower fence below 1 in the space of perplexities drops nothing.
    return tuple(fence for fence in perplexities if fence >= 1), groups
