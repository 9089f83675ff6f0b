"""A first look at a dataset: what its columns hold, why rows ended as they did, a few whole rows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from sgpo_data.connection import connected, quoted
from sgpo_data.schema import Column, schema
from sgpo_data.store.dataset import Dataset, unreadable

EXACT_ROWS = 1_000_000
"""Quantiles of larger tables are estimated (t-digest), since exact ones hold every value in memory."""
SHARES = (0.05, 0.5, 0.95)
NUMBERS = ("DOUBLE", "INTEGER", "BIGINT")
TEXT = "VARCHAR"
REASONS = ("contaminated_by", "finish", "improved_finish", "role", "kind", "dropped_by", "failed_rules", "residue")
"""Columns that say what became of a row, in few values."""
TOP_REASONS = 12
NLL = re.compile(r"(?P<of>\w+?)_nll(?P<given>\w*)")

Quantiles = tuple[float, ...]


@dataclass(frozen=True)
class ColumnLook:
    """A column of every row."""

    name: str
    sql_type: str
    comment: str | None
    nulls: int
    quantiles: Quantiles | None
    """Of a number: least, 5 %, 50 %, 95 %, greatest. None if there is no value, or no number."""
    characters: Quantiles | None
    """Of a text, or of all turns of a conversation: the same, of its length."""


@dataclass(frozen=True)
class Perplexity:
    """A perplexity that the columns give: exp of nats per token."""

    name: str
    formula: str
    quantiles: Quantiles | None
    """Least, 5 %, 50 %, 95 %, greatest, over the rows that have both columns."""


@dataclass(frozen=True)
class Look:
    """What a first look at a dataset tells besides its manifest."""

    rows: int
    exact: bool
    """Whether quantiles are exact, or estimated."""
    columns: tuple[ColumnLook, ...]
    perplexities: tuple[Perplexity, ...]
    reasons: dict[str, dict[str, int]]
    """Rows by value, most first, of each column that says what became of a row; a row can have several failed_rules."""
    sample: tuple[dict[str, object], ...]


def look(dataset: Dataset, *, sample_rows: int = 3, seed: int = 0) -> Look:
    """A first look, in one pass over the numbers, one over the texts and one per question after that.

    The sample is drawn by a hash of the seed and the key, so that it does not change with the order of the rows.
    Raises DatasetError if a part cannot be read.
    """
    columns = schema(dataset.table).columns
    exact = dataset.manifest.rows <= EXACT_ROWS
    try:
        with connected() as con:
            dataset.relation(con).create_view("rows")
            numbers, texts = _numbers(con, columns, exact), _texts(con, columns, exact)
            rows, nulls = _nulls(con, columns)
            return Look(
                rows=rows,
                exact=exact,
                columns=tuple(
                    ColumnLook(each.name, each.sql_type, each.comment, nulls[each.name], numbers.get(each.name), texts.get(each.name)) for each in columns
                ),
                perplexities=tuple(Perplexity(name, f"exp({ratio})", numbers.get(name)) for name, ratio in perplexities(columns).items()),
                reasons=_reasons(con, columns),
                sample=_sample(con, dataset.table, sample_rows, seed),
            )
    except duckdb.Error as error:
        raise unreadable(dataset.folder, error) from error


def _nulls(con: duckdb.DuckDBPyConnection, columns: Sequence[Column]) -> tuple[int, dict[str, int]]:
    counts = ", ".join(f"count({quoted(column.name)})" for column in columns)
    ((rows, *present),) = con.sql(f"SELECT count(*), {counts} FROM rows").fetchall()
    return rows, {column.name: rows - count for column, count in zip(columns, present, strict=True)}


def _numbers(con: duckdb.DuckDBPyConnection, columns: Sequence[Column], exact: bool) -> dict[str, Quantiles]:
    values = {column.name: quoted(column.name) for column in columns if column.sql_type in NUMBERS}
    return _quantiles(con, values | {name: f"exp({ratio})" for name, ratio in perplexities(columns).items()}, exact)


def _texts(con: duckdb.DuckDBPyConnection, columns: Sequence[Column], exact: bool) -> dict[str, Quantiles]:
    values = {column.name: f"length({quoted(column.name)})" for column in columns if column.sql_type == TEXT}
    turns = "list_sum(list_transform({}, lambda turn: length(turn.content)))"
    return _quantiles(con, values | {column.name: turns.format(quoted(column.name)) for column in columns if is_conversation(column)}, exact)


def is_conversation(column: Column) -> bool:
    """Whether a value is a list of turns."""
    return column.sql_type.startswith("STRUCT") and column.sql_type.endswith("[]")


def _quantiles(con: duckdb.DuckDBPyConnection, values: dict[str, str], exact: bool) -> dict[str, Quantiles]:
    """Least, SHARES and greatest of each expression; one that is null everywhere is left out."""
    if not values:
        return {}
    inner = "quantile_cont" if exact else "approx_quantile"
    query = ", ".join(f"min({value}), {inner}(({value})::DOUBLE, {list(SHARES)}), max({value})" for value in values.values())
    (found,) = con.sql(f"SELECT {query} FROM rows").fetchall()
    triples = zip(values, found[0::3], found[1::3], found[2::3], strict=True)
    return {name: (float(least), *map(float, middle), float(greatest)) for name, least, middle, greatest in triples if least is not None}


def perplexities(columns: Sequence[Column]) -> dict[str, str]:
    """Nats per token, as SQL, by the name of its perplexity: improved_nll_given_draft counts improved_tokens as improved_nll does."""
    names = {column.name for column in columns}
    found = {}
    for name in (column.name for column in columns):
        nll = NLL.fullmatch(name)
        if nll is not None and f"{nll['of']}_tokens" in names:
            found[f"{nll['of']}_ppl{nll['given']}"] = f"{name} / {nll['of']}_tokens"
    return found


def _reasons(con: duckdb.DuckDBPyConnection, columns: Sequence[Column]) -> dict[str, dict[str, int]]:
    present = [column.name for column in columns if column.name in REASONS]
    if not present:
        return {}
    special = {"failed_rules": "unnest(failed_rules)", "dropped_by": "coalesce(dropped_by, 'kept')"}
    values = {name: special.get(name, quoted(name)) for name in present}
    counts = [f"SELECT '{name}' AS reason, value, count(*) AS rows FROM (SELECT {value} AS value FROM rows) GROUP BY value" for name, value in values.items()]
    found: dict[str, dict[str, int]] = {name: {} for name in present}
    query = f"FROM ({' UNION ALL '.join(counts)}) WHERE value IS NOT NULL QUALIFY row_number() OVER (PARTITION BY reason ORDER BY rows DESC, value) <= ?"
    for reason, value, rows in con.execute(f"{query} ORDER BY reason, rows DESC, value", [TOP_REASONS]).fetchall():
        found[reason][value] = rows
    return {name: counts for name, counts in found.items() if counts}


def _sample(con: duckdb.DuckDBPyConnection, table: str, rows: int, seed: int) -> tuple[dict[str, object], ...]:
    """Two passes: the keys alone are drawn, then the few rows that have them are read whole."""
    key = ", ".join(map(quoted, schema(table).key))
    drawn = f"SELECT {key} FROM rows ORDER BY md5(concat_ws('/', ?::VARCHAR, {key})) LIMIT ?"
    keys = con.execute(drawn, [seed, rows]).fetchall()
    if not keys:
        return ()
    marks = ", ".join("(" + ", ".join("?" for _ in each) + ")" for each in keys)
    relation = con.sql(f"SELECT * FROM rows WHERE ({key}) IN ({marks})", params=[value for each in keys for value in each])
    found: list[dict[str, object]] = relation.to_arrow_table().to_pylist()
    return tuple(sorted(found, key=lambda row: keys.index(tuple(row[name] for name in schema(table).key))))
