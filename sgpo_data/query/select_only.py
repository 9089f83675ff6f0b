"""A SELECT taken apart: all that stands in it is known to read and nothing else, or it is refused."""

import json
from collections.abc import Iterator

import duckdb

from sgpo_data.errors import QueryError

QUERIES = ("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE")
"""Kinds of query that read; INSERT_QUERY_NODE and COPY_QUERY_NODE are what else can stand in a WITH."""
SOURCES = ("BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT", "SHOW_REF", "COLUMN_DATA")
MODIFIERS = ("ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER", "ASCENDING", "DESCENDING", "ORDER_DEFAULT")
READING = frozenset((*QUERIES, *SOURCES, *MODIFIERS))
"""Parts of a parsed query, besides its expressions, that read."""
MADE = ("range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree", "histogram", "histogram_values", "summary")
TOLD = ("duckdb_columns", "duckdb_tables", "duckdb_views", "duckdb_functions", "duckdb_types", "duckdb_keywords", "duckdb_settings", "duckdb_memory")
LISTED = ("pragma_table_info", "pragma_version", "icu_calendar_names", "pg_timezone_names")
TABLE_FUNCTIONS = frozenset((*MADE, *TOLD, *LISTED))
"""Table functions that reach no file and run no text as SQL, as query('...') does."""
PATH_MARKS = frozenset("/\\.:*?")


def refuse_all_but_reading(con: duckdb.DuckDBPyConnection, query: str) -> None:
    """Nothing if the query is one SELECT that reads tables by their names.

    DuckDB counts WITH x AS (COPY ... TO ...) SELECT ... as a SELECT, so its kind alone tells too little.
    Raises QueryError with what else stands in it.
    """
    found = con.cursor().execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchall()
    try:
        tree = json.loads(found[0][0])
    except (RecursionError, ValueError) as error:
        raise QueryError("sql: nested too deeply to be looked through; write it in several steps, WITH x AS (...)") from error
    if tree["error"]:
        raise QueryError(f"sql: {tree['error_message']}; give one SELECT")
    for node in _nodes(tree["statements"]):
        kind = node["type"]
        if kind not in READING:
            raise QueryError(f"sql: {str(kind).split('_')[0]} inside of a query is not possible, sql only reads; --unsafe allows it")
        if kind == "TABLE_FUNCTION":
            _refuse_function(node)
        if kind == "BASE_TABLE" and PATH_MARKS & set(str(node["table_name"])):
            raise QueryError(f"sql: {node['table_name']}: is no table; a file is given behind the query, and is a view then: name={node['table_name']}")


def refuse_no_text(query: str) -> None:
    """Nothing if DuckDB can be given these characters.

    Raises QueryError at a NUL or a lone surrogate.
    """
    if "\0" in query or any("\ud800" <= character <= "\udfff" for character in query):
        raise QueryError("sql: holds a NUL or bytes that are not UTF-8; write such a character as chr(...)")


def _refuse_function(node: dict[str, object]) -> None:
    function = node["function"]
    assert isinstance(function, dict)
    name = str(function["function_name"]).lower()
    if name not in TABLE_FUNCTIONS:
        raise QueryError(f"sql: {name}() is not possible, sql only reads the tables it was given; give a file behind the query as name=FILE, or --unsafe")


def _nodes(tree: object) -> Iterator[dict[str, object]]:
    """Every part of the tree that is no expression, value or type: those have a class, or a type that is no name."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "class" not in part and isinstance(part.get("type"), str):
                yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
