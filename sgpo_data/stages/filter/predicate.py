"""A rule of a recipe's own: one SQL expression over a row of scored, true for what is kept, that can do nothing but look at the row."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, JsonValue

from sgpo_data.connection import connected, quoted
from sgpo_data.schema import schema

if TYPE_CHECKING:
    import duckdb

_EXPRESSIONS = {"COMPARISON", "CONJUNCTION", "CONSTANT", "COLUMN_REF", "FUNCTION", "OPERATOR", "CAST", "CASE", "BETWEEN", "LAMBDA", "TYPE"}
_REFUSED = {
    "SUBQUERY": "a subquery, or ANY of a list; a rule looks at one row (for a list: list_contains)",
    "WINDOW": "a window; a rule looks at one row",
    "STAR": "*; name the columns",
    "PARAMETER": "a parameter; write the value",
}
_MACROS = {"if", "nullif", "split_part", "array_to_string", "list_append", "list_avg", "list_max", "list_min", "list_prepend", "list_reverse", "list_sum"}
"""Functions that DuckDB defines by others; the rest of those tell of the server, or wait."""


_ADVICE = "write what is true for a row that is kept, such as improved_words < 400"


def in_parentheses(predicate: str) -> str:
    """The predicate as part of a statement: a comment at its end stays its own."""
    return f"(\n{predicate}\n)"


def _checked(predicate: str) -> str:
    fault = _fault(predicate)
    if fault is not None:
        raise ValueError(fault)
    return predicate


Predicate = Annotated[str, AfterValidator(_checked)]
"""SQL of one expression that is true, false or null for a row; the text of a recipe or of the command line, so it is checked before it is run."""


def _name_checked(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise ValueError(f"{name[:80]!r} is no name of a rule; it is small letters, digits and _")
    return name


RuleName = Annotated[str, AfterValidator(_name_checked)]
"""What stands in dropped_by and failed_rules."""


def _fault(predicate: str) -> str | None:
    """Why this is no rule; None if it is one."""
    if "\0" in predicate or any("\ud800" <= character <= "\udfff" for character in predicate):
        return "holds a NUL or bytes that are not UTF-8; write such a character as chr(...)"
    try:
        return _planning_fault(predicate)
    except RecursionError:
        return "is nested too deeply to be looked through; make several rules of it"


def _planning_fault(predicate: str) -> str | None:
    import duckdb

    with _connection() as con:
        try:
            parsed = _parsed(con, predicate)
            if "error_message" in parsed:
                return f"is no SQL expression: {' '.join(str(parsed['error_message']).split())}"
            chosen, rest = _parts(parsed)
            if len(chosen) != 1 or rest != _parts(_parsed(con, "true"))[1]:
                return f"is more than one SQL expression; {_ADVICE}"
            found = next(_faults(chosen[0], frozenset()), None)
            if found is not None:
                return found
            kind = con.sql(f"SELECT {in_parentheses(predicate)} AS kept FROM input").types[0]
        except duckdb.Error as error:
            return f"cannot be planned: {' '.join(str(error).split(chr(10) * 2)[0].split())}"
        return None if str(kind) == "BOOLEAN" else f"is {kind}, not BOOLEAN; {_ADVICE}"


def _faults(node: JsonValue, parameters: frozenset[str]) -> Iterator[str]:
    """What an expression, as DuckDB's parser gives it, has in it that a rule cannot have; `parameters` are those of the lambdas around it."""
    if isinstance(node, list):
        for inner in node:
            yield from _faults(inner, parameters)
    if not isinstance(node, dict):
        return
    kind = node.get("class")
    if kind is not None and kind not in _EXPRESSIONS:
        yield f"has {_REFUSED.get(str(kind), f'{kind}, which a rule cannot have')}"
        return
    if kind == "COLUMN_REF":
        yield from _column_faults(node["column_names"], parameters)
    if kind == "FUNCTION" and (str(node["function_name"]).lower() not in _functions() or node.get("schema") or node.get("catalog")):
        yield f"calls {node['function_name']}, which is no function of a row's values alone; a rule uses what gives the same each time"
    if kind == "LAMBDA":
        parameters = parameters | set(_names(node["lhs"]))
    for inner in node.values():
        yield from _faults(inner, parameters)


def _column_faults(names: JsonValue, parameters: frozenset[str]) -> Iterator[str]:
    assert isinstance(names, list)
    first, columns = str(names[0]).lower(), schema("scored").column_names
    if first not in parameters and (first not in columns or len(names) > 1):
        yield f"no column {'.'.join(map(str, names))} in scored; the columns are {', '.join(columns)}"


def _names(node: JsonValue) -> Iterator[str]:
    if isinstance(node, list):
        for inner in node:
            yield from _names(inner)
    if isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield str(node["column_names"][0]).lower()  # type: ignore[index]
        for inner in node.values():
            yield from _names(inner)


def _parsed(con: "duckdb.DuckDBPyConnection", predicate: str) -> dict[str, JsonValue]:
    ((text,),) = con.execute("SELECT json_serialize_sql(?::VARCHAR)", [f"SELECT {in_parentheses(predicate)} FROM input"]).fetchall()
    found: dict[str, JsonValue] = json.loads(text)
    return found


def _parts(parsed: dict[str, JsonValue]) -> tuple[list[JsonValue], JsonValue]:
    """The expressions that are selected, and all else of the statements."""
    statements = _without_places(parsed["statements"])
    assert isinstance(statements, list)
    first = statements[0]
    assert isinstance(first, dict)
    node = first["node"]
    assert isinstance(node, dict)
    chosen = node.pop("select_list", [])
    assert isinstance(chosen, list)
    return chosen, statements


def _without_places(node: JsonValue) -> JsonValue:
    if isinstance(node, list):
        return [_without_places(inner) for inner in node]
    if isinstance(node, dict):
        return {key: _without_places(inner) for key, inner in node.items() if key not in ("query_location", "query_location_length")}
    return node


@cache
def _functions() -> frozenset[str]:
    """Functions whose value follows from their arguments alone."""
    with _connection() as con:
        found = con.execute(
            "SELECT lower(function_name) FROM duckdb_functions() WHERE function_type != 'table' GROUP BY ALL "
            "HAVING bool_and(function_type = 'scalar' AND stability = 'CONSISTENT' AND NOT has_side_effects)"
        )
        return frozenset(name for (name,) in found.fetchall()) | _MACROS


def _connection() -> "duckdb.DuckDBPyConnection":
    """Holds an empty table of the columns of scored, and reaches nothing else."""

    con = connected(settings={"threads": 1, "python_enable_replacements": False, "autoload_known_extensions": False})
    columns = ", ".join(f"{quoted(column.name)} {column.sql_type}" for column in schema("scored").columns)
    con.execute(f"CREATE TABLE input ({columns})")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    return con
