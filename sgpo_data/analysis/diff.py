"""Two datasets of one table: which rows came, went and changed, and how the numbers moved."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from sgpo_data.analysis.shift import Shift, shifts
from sgpo_data.connection import connected, quoted
from sgpo_data.errors import DatasetError, SchemaError, first_line
from sgpo_data.schema import schema
from sgpo_data.store.dataset import Dataset

OUTCOMES = ("dropped_by", "finish", "improved_finish")
"""Columns whose moves from one value to another are counted."""
BATCH_COLUMNS = 8
"""Columns whose hashes are joined at once: 10 million rows of them are 640 MB on either side."""
KEY = "md5_number(concat_ws(chr(31), {}))"
"""128 bits that stand for the key of a row, whatever its length."""


@dataclass(frozen=True)
class Move:
    """Rows whose outcome is another one now."""

    column: str
    before: str
    after: str
    rows: int


@dataclass(frozen=True)
class ChangedRow:
    """A row that both have, and what differs in it."""

    key: Mapping[str, object]
    before: Mapping[str, object]
    after: Mapping[str, object]


@dataclass(frozen=True)
class Diff:
    """What sets B apart from A."""

    table: str
    rows_a: int
    rows_b: int
    only_a: int
    only_b: int
    changed: int
    same: int
    only_a_keys: tuple[Mapping[str, object], ...]
    only_b_keys: tuple[Mapping[str, object], ...]
    """A few of them."""
    columns: Mapping[str, int]
    """Changed rows by column, most first."""
    columns_only_a: tuple[str, ...]
    columns_only_b: tuple[str, ...]
    """Columns that one version of the schema has and the other has not; not compared."""
    moves: tuple[Move, ...]
    """Most rows first."""
    shifts: tuple[Shift, ...]
    """Of every number, perplexity and length of a text that differs; furthest apart first."""
    identity: tuple[str, ...]
    """What sets the two recipes apart, as `field: A -> B`."""
    sample: tuple[ChangedRow, ...]


def diff(a: Dataset, b: Dataset, *, sample_rows: int = 3, seed: int = 0) -> Diff:
    """What sets `b` apart from `a`, row by row of one key.

    Rows are compared by hashes, so that texts are read and never held; joins that outgrow the memory go to the disk.
    Raises SchemaError if the two hold different tables, DatasetError if a part cannot be read.
    """
    if a.table != b.table:
        raise SchemaError(f"{a.folder}: holds {a.table}, and {b.folder} holds {b.table}; give two datasets of one table")
    try:
        with connected("share", settings={"preserve_insertion_order": False}) as con:
            a.relation(con).create_view("a")
            b.relation(con).create_view("b")
            return _diff(con, a, b, sample_rows, seed)
    except duckdb.Error as error:
        raise DatasetError(f"{a.folder} or {b.folder}: cannot be read ({first_line(error)}); sgpo check tells what is broken") from error


def _diff(con: duckdb.DuckDBPyConnection, a: Dataset, b: Dataset, sample_rows: int, seed: int) -> Diff:
    key = schema(a.table).key
    of_a, of_b = con.sql("FROM a").columns, con.sql("FROM b").columns
    common = [name for name in of_a if name in of_b]
    outcomes = [name for name in OUTCOMES if name in common]
    states, moves = _joined(con, key, common, outcomes)
    columns = _changed_columns(con, key, [name for name in common if name not in key]) if states["changed"] else {}
    moved = common if states["only_a"] or states["only_b"] else list(columns)
    return Diff(
        table=a.table,
        rows_a=states["only_a"] + states["changed"] + states["same"],
        rows_b=states["only_b"] + states["changed"] + states["same"],
        **states,
        only_a_keys=_keys(con, "a", key, "only_a", sample_rows, seed),
        only_b_keys=_keys(con, "b", key, "only_b", sample_rows, seed),
        columns=columns,
        columns_only_a=tuple(name for name in of_a if name not in of_b),
        columns_only_b=tuple(name for name in of_b if name not in of_a),
        moves=moves,
        shifts=shifts(con, a.table, moved, rows=max(a.manifest.rows, b.manifest.rows), key=KEY.format(_list(key))),
        identity=tuple(a.manifest.identity.differences(b.manifest.identity)),
        sample=_sample(con, key, list(columns), sample_rows, seed),
    )


def _joined(con: duckdb.DuckDBPyConnection, key: Sequence[str], common: Sequence[str], outcomes: Sequence[str]) -> tuple[dict[str, int], tuple[Move, ...]]:
    """Rows by state, and moves; leaves the keys that are not the same in both in table `differing`."""
    kept = {"dropped_by": "coalesce(dropped_by, 'kept')"}
    told = "".join(f", {kept.get(name, quoted(name))} AS {quoted(name)}" for name in outcomes)
    for side in ("a", "b"):
        con.execute(f"CREATE TEMP TABLE keyed_{side} AS SELECT {KEY.format(_list(key))} AS key, hash({_list(common)}) AS row_hash{told} FROM {side}")
    state = """CASE WHEN keyed_b.key IS NULL THEN 'only_a' WHEN keyed_a.key IS NULL THEN 'only_b'
               WHEN keyed_a.row_hash = keyed_b.row_hash THEN 'same' ELSE 'changed' END"""
    both = "keyed_a FULL JOIN keyed_b ON keyed_a.key = keyed_b.key"
    con.execute(f"CREATE TEMP TABLE differing AS FROM (SELECT coalesce(keyed_a.key, keyed_b.key) AS key, {state} AS state FROM {both}) WHERE state != 'same'")
    pairs = "".join(f", keyed_a.{quoted(name)}, keyed_b.{quoted(name)}" for name in outcomes)
    states: Counter[str] = Counter({"only_a": 0, "only_b": 0, "changed": 0, "same": 0})
    moves: Counter[tuple[str, str, str]] = Counter()
    for name, *values, rows in con.execute(f"SELECT {state} AS state{pairs}, count(*) FROM {both} GROUP BY ALL").fetchall():
        states[name] += rows
        for column, before, after in zip(outcomes, values[::2], values[1::2], strict=True):
            if name == "changed" and before != after:
                moves[column, before, after] += rows
    con.execute("DROP TABLE keyed_a; DROP TABLE keyed_b")
    return dict(states), tuple(Move(*move, rows) for move, rows in sorted(moves.items(), key=lambda move: (-move[1], move[0])))


def _changed_columns(con: duckdb.DuckDBPyConnection, key: Sequence[str], columns: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for start in range(0, len(columns), BATCH_COLUMNS):
        batch = columns[start : start + BATCH_COLUMNS]
        hashes = ", ".join(f"hash({quoted(name)}) AS hash_{number}" for number, name in enumerate(batch))
        sides = [
            f"(SELECT {KEY.format(_list(key))} AS key, {hashes} FROM {side} SEMI JOIN differing ON differing.key = {KEY.format(_list(key, side))})"
            for side in ("a", "b")
        ]
        counts = ", ".join(f"count(*) FILTER (old.hash_{number} != new.hash_{number})" for number in range(len(batch)))
        ((*rows,),) = con.execute(f"SELECT {counts} FROM {sides[0]} AS old JOIN {sides[1]} AS new USING (key)").fetchall()
        found |= dict(zip(batch, rows, strict=True))
    return {name: rows for name, rows in sorted(found.items(), key=lambda each: -each[1]) if rows}


def _keys(con: duckdb.DuckDBPyConnection, side: str, key: Sequence[str], state: str, rows: int, seed: int) -> tuple[dict[str, object], ...]:
    """Keys of a few rows of this state, drawn by a hash of the seed and the key."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE drawn AS SELECT key FROM differing WHERE state = ? ORDER BY hash(key, {seed}) LIMIT ?", [state, rows])
    matching = f"SELECT {_list(key)} FROM {side} SEMI JOIN drawn ON drawn.key = {KEY.format(_list(key, side))} ORDER BY ALL"
    return tuple(dict(zip(key, values, strict=True)) for values in con.execute(matching).fetchall())


def _sample(con: duckdb.DuckDBPyConnection, key: Sequence[str], columns: Sequence[str], rows: int, seed: int) -> tuple[ChangedRow, ...]:
    """A few changed rows: their keys are found first, so that only they are read whole."""
    keys = [tuple(each.values()) for each in _keys(con, "a", key, "changed", rows, seed)]
    if not keys:
        return ()
    marks = ", ".join("(" + ", ".join("?" for _ in each) + ")" for each in keys)
    found: list[dict[tuple[object, ...], dict[str, object]]] = []
    for side in ("a", "b"):
        query = f"SELECT {_list([*key, *columns])} FROM {side} WHERE ({_list(key)}) IN ({marks})"
        read = con.sql(query, params=[value for each in keys for value in each]).to_arrow_table().to_pylist()
        found.append({tuple(row[name] for name in key): row for row in read})
    changed = []
    for each in keys:
        before, after = found[0][each], found[1][each]
        names = [name for name in columns if before[name] != after[name]]
        changed.append(ChangedRow(dict(zip(key, each, strict=True)), {name: before[name] for name in names}, {name: after[name] for name in names}))
    return tuple(changed)


def _list(names: Sequence[str], side: str = "") -> str:
    return ", ".join(f"{side}.{quoted(name)}" if side else quoted(name) for name in names)
