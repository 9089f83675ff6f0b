"""The row types, read from `schemas/*.sql` through DuckDB's catalogue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from sgpo_data.connection import connected, quoted
from sgpo_data.errors import SchemaError

if TYPE_CHECKING:
    # Imported where they are needed: what only names tables and columns does without.
    import duckdb
    import pyarrow as pa

FOLDER = Path(str(resources.files("sgpo_data.schemas")))
VERSION = re.compile(r"-- version (\d+)\n")
"""First line of every file: raised when a row of the released table changes, an inherited column or check included."""
_COLUMNS = """
SELECT column_name, data_type, comment, NOT is_nullable
FROM duckdb_columns()
WHERE table_name = ?
ORDER BY column_index
"""
_CONSTRAINTS = """
SELECT constraint_type, expression, constraint_column_names, referenced_table
FROM duckdb_constraints()
WHERE table_name = ?
ORDER BY constraint_index
"""


@dataclass(frozen=True)
class Column:
    """A column as its CREATE TABLE declares it."""

    name: str
    sql_type: str
    comment: str | None
    required: bool


@dataclass(frozen=True)
class Schema:
    """A row type: the columns of the table it extends, then its own; the checks of both."""

    table: str
    version: int
    """Its own, so that a change of another table leaves its datasets what they are; stands in their manifests and Parquet files."""
    comment: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    checks: tuple[str, ...]
    extends: str | None

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of all columns, in their order in every file."""
        return tuple(column.name for column in self.columns)

    @property
    def arrow(self) -> pa.Schema:
        """The exact Arrow types of every Parquet file of this table."""
        import pyarrow as pa

        return pa.schema([pa.field(column.name, _arrow_type(column.sql_type)) for column in self.columns])

    @property
    def own(self) -> Schema:
        """What it adds to the table that it extends: those columns and checks alone, without a key."""
        base = schema(self.extends) if self.extends else None
        if base is None:
            return self
        return replace(self, columns=self.columns[len(base.columns) :], checks=self.checks[len(base.checks) :], key=())

    def violations(self, rows: duckdb.DuckDBPyRelation) -> dict[str, int]:
        """How many rows break each rule; rules that no row breaks are left out.

        One aggregate query over `rows`. As in SQL, a CHECK that comes out NULL is not broken.
        """
        rules = {f"{column.name} is null": f"{quoted(column.name)} IS NULL" for column in self.columns if column.required}
        rules |= {check: f"NOT ({check})" for check in self.checks}
        counts = {rule: f"count(*) FILTER (WHERE {broken})" for rule, broken in rules.items()}
        if self.key:
            counts[f"({', '.join(self.key)}) is not unique"] = f"count(*) - count(DISTINCT ({', '.join(map(quoted, self.key))}))"
        (found,) = rows.aggregate(", ".join(counts.values())).fetchall()
        return {name: count for name, count in zip(counts, found, strict=True) if count}

    def check(self, rows: duckdb.DuckDBPyRelation, *, place: str) -> None:
        """Raises SchemaError, naming each broken rule and its count, if rows are not of this table."""
        found = {field.name: _canonical(field.type) for field in rows.limit(0).to_arrow_table().schema}
        missing = [field.name for field in self.arrow if field.name not in found]
        if missing:
            raise SchemaError(f"{place}: not rows of schemas/{self.table}.sql: no column {', '.join(missing)}; it has {', '.join(found)}")
        other = [f"{field.name} is {found[field.name]}, not {field.type}" for field in self.arrow if found[field.name] != field.type]
        if other:
            raise SchemaError(f"{place}: not rows of schemas/{self.table}.sql: {'; '.join(other)}")
        broken = self.violations(rows)
        if broken:
            ((total,),) = rows.aggregate("count(*)").fetchall()
            faults = "; ".join(f"{rule}: {count} of {total} rows" for rule, count in broken.items())
            raise SchemaError(f"{place}: rows break schemas/{self.table}.sql: {faults}")


def schema(table: str) -> Schema:
    """The schema of this table.

    Raises SchemaError if there is no such table.
    """
    declared = read_schemas(FOLDER)
    if table not in declared:
        raise SchemaError(f"no table {table}; the tables are {', '.join(declared)}")
    return declared[table]


def tables() -> tuple[str, ...]:
    """Names of all tables, each after the one it extends."""
    return tuple(read_schemas(FOLDER))


@cache
def read_schemas(folder: Path) -> Mapping[str, Schema]:
    """Every table of a folder of SQL files, each after the one it extends.

    Raises SchemaError if a file does not say its version.
    """

    texts = {f.name.removesuffix(".sql"): f.read_text(encoding="utf-8") for f in folder.iterdir() if f.name.endswith(".sql")}
    with connected() as con:
        _create_all(con, texts)
        found: dict[str, Schema] = {}
        for (table,) in con.sql("SELECT table_name FROM duckdb_tables() ORDER BY table_oid").fetchall():
            found[table] = _from_catalogue(con, table, _version(table, texts[table]), found)
        return found


def _version(table: str, text: str) -> int:
    first = VERSION.match(text)
    if first is None:
        raise SchemaError(f"schemas/{table}.sql: its first line is {text.partition(chr(10))[0]!r}; write -- version N there")
    return int(first[1])


def _create_all(con: duckdb.DuckDBPyConnection, texts: Mapping[str, str]) -> None:
    """Runs every file, each after the table that it references."""
    import duckdb

    waiting = dict(texts)
    while waiting:
        failures = {}
        for name in sorted(waiting):
            try:
                con.execute(waiting[name])
            except duckdb.CatalogException as error:
                failures[name] = error
        if len(failures) == len(waiting):
            raise next(iter(failures.values()))
        waiting = {name: waiting[name] for name in failures}


def _from_catalogue(con: duckdb.DuckDBPyConnection, table: str, version: int, earlier: Mapping[str, Schema]) -> Schema:
    (comment,) = con.execute("SELECT comment FROM duckdb_tables() WHERE table_name = ?", [table]).fetchone() or ("",)
    own = con.execute(_COLUMNS, [table]).fetchall()
    constraints = con.execute(_CONSTRAINTS, [table]).fetchall()
    base = next((earlier[target] for kind, _, _, target in constraints if kind == "FOREIGN KEY"), None)
    comments = {name: comment for name, _, comment, _ in own if comment is not None}
    inherited = () if base is None else tuple(replace(column, comment=comments.get(column.name, column.comment)) for column in base.columns)
    names = {column.name for column in inherited}
    return Schema(
        table=table,
        version=version,
        comment=comment,
        columns=(*inherited, *(Column(*column) for column in own if column[0] not in names)),
        key=next(tuple(columns) for kind, _, columns, _ in constraints if kind == "PRIMARY KEY"),
        checks=(*(() if base is None else base.checks), *(expression for kind, expression, _, _ in constraints if kind == "CHECK")),
        extends=None if base is None else base.table,
    )


@cache
def _arrow_type(sql_type: str) -> pa.DataType:

    with connected() as con:
        exported = con.sql(f"SELECT NULL::{sql_type} AS value").to_arrow_table().schema.field(0).type
    return _canonical(exported)


def _canonical(arrow_type: pa.DataType) -> pa.DataType:
    """The same type with the names that Parquet and `datasets` give to list items."""
    import pyarrow as pa

    if pa.types.is_list(arrow_type):
        return pa.list_(_canonical(arrow_type.value_type))
    if pa.types.is_struct(arrow_type):
        return pa.struct([(field.name, _canonical(field.type)) for field in arrow_type])
    return arrow_type
