"""A column that a query asks for and no table of it has: the one that was meant, and all there are."""

import re
from difflib import get_close_matches

import duckdb

from sgpo_data.connection import quoted

NAMES = 100
"""Columns of a table that are told: a file can have any number of them."""

_MISSING = re.compile(
    r'Column "(?P<lost>[^"]+)" (?:in \w+ list not found|does not exist on)|Referenced column "(?P<referenced>[^"]+)" not found'
    r'|does not have a column named "(?P<other>[^"]+)"'
)
_CANDIDATES = re.compile(r'\s*Candidate bindings: (?P<names>".*")')
"""Those of a few letters in common, five at most, which DuckDB ends its message with."""
_VIEWS = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY table_name"


def views(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The tables that the connection was given."""
    return [str(name) for (name,) in con.execute(_VIEWS).fetchall()]


def with_columns(message: str, con: duckdb.DuckDBPyConnection, query: str) -> tuple[str, tuple[str, ...]]:
    """DuckDB's message with the column that was meant, and a line with the columns of each table the query names; of another message, itself."""
    missing = _MISSING.search(message)
    if missing is None:
        return message, ()
    columns = {view: _columns(con, view) for view in views(con) if re.search(rf"\b{re.escape(view)}\b", query, re.IGNORECASE)}
    offered = _CANDIDATES.search(message)
    # What DuckDB offers is in reach of that place in the query; other columns may not be.
    reached = re.findall(r'"([^"]+)"', offered["names"]) if offered else [name for names in columns.values() for name in names]
    close = get_close_matches(next(filter(None, missing.groups())), reached, n=1)
    told = _CANDIDATES.sub("", message).rstrip("!") + (f"; did you mean {close[0]}?" if close else "")
    return told, tuple(f"  {view} has {_listed(names)}" for view, names in columns.items())


def _listed(names: list[str]) -> str:
    return ", ".join(names[:NAMES]) + (f" and {len(names) - NAMES} more" if len(names) > NAMES else "")


def _columns(con: duckdb.DuckDBPyConnection, view: str) -> list[str]:
    return [str(name) for name, *_ in con.execute(f"DESCRIBE {quoted(view)}").fetchall()]
