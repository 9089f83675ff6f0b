"""Claims about the row types, for every file of schemas/."""

import hashlib
from importlib import resources
from itertools import pairwise
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from literal_rows import row

from sgpo_data.errors import SchemaError
from sgpo_data.rows import Row
from sgpo_data.schema import read_schemas, schema, tables

ROWS = {
    "comparisons": (1, "2682eca16237"),
    "evaluations": (1, "1e1f438dd7a9"),
    "examples": (2, "9af570a3ccfc"),
    "filtered": (2, "47e840f72a3d"),
    "grades": (1, "ef73b5e1dd5e"),
    "improved": (2, "c780c26c63ef"),
    "pairs": (2, "f91823ab38a2"),
    "prompts": (3, "4c48751780e6"),
    "responses": (2, "cc82f5fee682"),
    "scored": (2, "790c25ef9896"),
}
"""Version of each table, and the digest of what a row of it is: a change of the second asks for a higher first."""
WIDENING = ("prompts", "responses", "improved", "scored", "filtered")


def test_every_file_is_a_table_and_every_table_a_file() -> None:
    files = {path.name.removesuffix(".sql") for path in resources.files("sgpo_data.schemas").iterdir() if path.name.endswith(".sql")}
    assert files == set(tables())


@pytest.mark.parametrize("table", tables())
def test_a_table_whose_rows_change_has_another_version(table: str) -> None:
    found = schema(table)
    row_type = repr(([(column.name, column.sql_type, column.required) for column in found.columns], found.key, found.checks))
    assert (found.version, hashlib.sha256(row_type.encode()).hexdigest()[:12]) == ROWS[table]


def test_a_file_without_a_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prompts.sql").write_text("CREATE TABLE prompts (prompt_id VARCHAR PRIMARY KEY);")
    with pytest.raises(SchemaError, match=r"schemas/prompts.sql: its first line is 'CREATE TABLE .*; write -- version N there"):
        read_schemas(tmp_path)


@pytest.mark.parametrize("table", tables())
def test_every_table_says_its_grain_and_every_column_what_it_is(table: str) -> None:
    assert schema(table).comment.startswith("One row per ")
    assert [column.name for column in schema(table).columns if not column.comment] == []


@pytest.mark.parametrize("table", tables())
def test_every_table_has_its_key_among_its_columns(table: str) -> None:
    assert schema(table).key
    assert set(schema(table).key) <= set(schema(table).column_names)


@pytest.mark.parametrize(("base", "table"), list(pairwise(WIDENING)))
def test_each_stage_widens_the_rows_of_the_one_before(base: str, table: str) -> None:
    assert schema(table).extends == base
    width = len(schema(base).columns)
    assert [(each.name, each.sql_type) for each in schema(table).columns[:width]] == [(each.name, each.sql_type) for each in schema(base).columns]
    assert len(schema(table).columns) > width
    assert set(schema(base).checks) < set(schema(table).checks)


def test_python_knows_the_columns_that_sql_declares() -> None:
    declared = set(schema("scored").column_names)
    assert set(Row.__annotations__) == declared


@pytest.mark.parametrize("table", tables())
def test_datasets_reads_the_types_back_as_they_are(table: str) -> None:
    from datasets import Features  # type: ignore[import-untyped]

    features = Features.from_arrow_schema(schema(table).arrow)
    assert features.arrow_schema.remove_metadata() == schema(table).arrow
    assert features.arrow_schema.remove_metadata().names == list(schema(table).column_names)


def relation(con: duckdb.DuckDBPyConnection, *rows: dict[str, object]) -> duckdb.DuckDBPyRelation:
    return con.from_arrow(pa.Table.from_pylist(list(rows), schema=schema("scored").arrow))


def scored(name: str, **given: object) -> dict[str, object]:
    return {column: value for column, value in row(name, **given).items() if column in schema("scored").column_names}


def test_a_broken_rule_is_named_with_the_number_of_rows_that_break_it() -> None:
    with duckdb.connect() as con:
        rows = relation(con, scored("a"), scored("b", improved_nll=-1.0), scored("c", improved_nll=-2.0, finish="stopped"), scored("a"))
        broken = schema("scored").violations(rows)
        assert sorted(broken.values()) == [1, 1, 2]
        assert broken["(prompt_id, sample) is not unique"] == 1
        with pytest.raises(SchemaError, match=r"here: rows break schemas/scored.sql: .*improved_nll >= 0.*: 2 of 4 rows"):
            schema("scored").check(rows, place="here")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_likelihood_that_is_no_number_is_broken(value: float) -> None:
    with duckdb.connect() as con:
        assert list(schema("scored").violations(relation(con, scored("a", improved_nll=value))).values()) == [1]


def test_whole_rows_break_nothing() -> None:
    with duckdb.connect() as con:
        assert schema("scored").violations(relation(con, scored("a"), scored("b"))) == {}


def test_rows_of_another_table_are_told_by_their_columns() -> None:
    with duckdb.connect() as con:
        with pytest.raises(SchemaError, match=r"no column prompt_id, .*it has x"):
            schema("prompts").check(con.sql("SELECT 1 AS x"), place="here")
        prompts = con.sql("SELECT 'a' AS prompt_id, 'hi' AS messages, NULL AS reference, NULL AS rejected, 'f' AS source, 1::BIGINT AS count")
        prompts = prompts.project("*, NULL::VARCHAR AS duplicate_of, NULL::VARCHAR AS contaminated_by, 0 AS sample")
        with pytest.raises(SchemaError, match=r"messages is string, not list"):
            schema("prompts").check(prompts, place="here")
