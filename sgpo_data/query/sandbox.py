"""A DuckDB connection that reads the tables it is given, for queries that nobody has vetted."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import duckdb
import pyarrow as pa

from sgpo_data.connection import connected, quoted
from sgpo_data.errors import DatasetError, QueryError, SgpoError
from sgpo_data.query.columns import views, with_columns
from sgpo_data.query.read_only import SCHEME, ReadOnlyFiles
from sgpo_data.query.select_only import refuse_all_but_reading, refuse_no_text
from sgpo_data.query.text_files import TextFile, create_table

SETTINGS: dict[str, str | bool | int] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    # Otherwise a table name that is not found is looked up among the variables of the Python caller.
    "python_enable_replacements": False,
}


_NO_TABLE = re.compile(r"Table with name (\S+) does not exist")
_EXCERPT = re.compile(r"^(?P<label>LINE \d+: )(?P<line>.*)\n(?P<caret> *\^+)", re.MULTILINE)
"""What DuckDB shows of a query."""


@dataclass(frozen=True)
class Tables:
    """What a connection is given, by name."""

    parquet: Mapping[str, tuple[Path, ...]]
    """Files that are one view, in their order; one at least."""
    texts: Mapping[str, TextFile]
    arrow: Mapping[str, pa.Table]
    unions: Mapping[str, str]
    """SELECTs over those."""


def sandbox(tables: Tables) -> duckdb.DuckDBPyConnection:
    """A connection with a view for each of these, and the macros, in which nothing else can be read and nothing written.

    Parquet files are read when they are asked; CSV and JSON files once, now. No path of the disk is open to it but its own spill folder. DuckDB's reader
    gets the Parquet files through a file system of their own, in which they can only be read; `selected` takes a query apart before it runs. Either
    alone keeps the files as they are.

    Raises DatasetError if a file cannot be read.
    """
    con = connected("share", settings=SETTINGS)
    files = _fill(con, tables)
    con.execute(f"SET allowed_paths = {_list(_address(name) for name in files)}")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    return con


def open_connection(tables: Tables) -> duckdb.DuckDBPyConnection:
    """A connection with the same views, and all that DuckDB can do besides: files, extensions, network.

    Raises DatasetError if a file cannot be read.
    """
    con = connected("share")
    _fill(con, tables)
    return con


def selected(con: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyRelation:
    """What one SELECT gives, lazily; the relation keeps the connection.

    Raises QueryError if the query is no SELECT, if it is several, if anything in it could do else than read, or if DuckDB cannot plan it.
    """
    refuse_no_text(query)
    try:
        statements = con.extract_statements(query)
        if len(statements) != 1:
            raise QueryError(f"sql: {len(statements)} statements; give one SELECT")
        kind = statements[0].type.name
        if kind == "MULTI":
            raise QueryError("sql: PIVOT has to name its columns here; write FROM (PIVOT t ON x IN ('a', 'b') USING ...)")
        if kind != "SELECT":
            raise QueryError(f"sql: {kind} is not possible, sql only reads; give one SELECT (WITH, FROM, DESCRIBE and SUMMARIZE too)")
        refuse_all_but_reading(con, query)
    except duckdb.Error as error:
        raise query_error(error, con, query) from error
    try:
        relation = con.sql(query)
    except duckdb.Error as error:
        raise query_error(_placed(error, con, query), con, query) from error
    assert relation is not None
    return relation


def execute(con: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyRelation | None:
    """What the last of any statements gives, None if that gives no rows.

    Raises QueryError with DuckDB's words.
    """
    refuse_no_text(query)
    try:
        found: duckdb.DuckDBPyRelation | None = con.sql(query)
    except duckdb.Error as error:
        raise query_error(error, con, query) from error
    return found


def query_error(error: Exception, con: duckdb.DuckDBPyConnection, query: str) -> SgpoError:
    """What DuckDB says of a query in one line, then the place under a caret, where it tells that.

    Of a table that is not there, the views of the connection are told; of a column, those of the tables that the query names.
    """
    message = _duckdb_line(error)
    if isinstance(error, duckdb.CatalogException) and (missing := _NO_TABLE.search(message)):
        known = f"there are {', '.join(there)}" if (there := views(con)) else "none was given"
        return QueryError(f"sql: there is no table {missing[1]}; {known}; give the dataset that holds it as a REF behind the query", *_excerpt(error))
    if isinstance(error, duckdb.PermissionException):
        message += "; sql only reads the tables it was given, give other data as a REF"
    message, columns = with_columns(message, con, query) if isinstance(error, duckdb.BinderException) else (message, ())
    return QueryError(f"sql: {message}", *_excerpt(error), *columns)


def _placed(error: duckdb.Error, con: duckdb.DuckDBPyConnection, query: str) -> duckdb.Error:
    """The error with its excerpt, which DuckDB leaves out where it only plans one SELECT; explaining that runs nothing either."""
    try:
        con.execute(f"EXPLAIN\n{query}")
    except duckdb.Error as explained:
        return explained if type(explained) is type(error) else error
    return error


def _excerpt(error: Exception) -> tuple[str, ...]:
    """The line of the query and the caret under it."""
    found = _EXCERPT.search(str(error))
    return () if found is None else (f"  {found['line']}", f"  {found['caret'][len(found['label']) :]}")


def _fill(con: duckdb.DuckDBPyConnection, tables: Tables) -> dict[str, Path]:
    """Makes the views and macros; the Parquet files by their names."""
    files = {_name(view, number): path for view, paths in tables.parquet.items() for number, path in enumerate(paths)}
    con.register_filesystem(ReadOnlyFiles({name: path.resolve() for name, path in files.items()}))
    for view, paths in tables.parquet.items():
        names = _list(_address(_name(view, number)) for number in range(len(paths)))
        _create(con, f"VIEW {quoted(view)} AS FROM read_parquet({names})", paths[0])
    for view, text in tables.texts.items():
        # Read with the disk in reach: DuckDB looks at text in threads, which would wait for Python, which waits for them.
        create_table(con, view, text)
    for name, table in tables.arrow.items():
        con.register(name, table)
    for name, query in tables.unions.items():
        con.execute(f"CREATE VIEW {quoted(name)} AS {query}")
    con.execute(resources.files("sgpo_data.query").joinpath("macros.sql").read_text(encoding="utf-8"))
    return files


def _create(con: duckdb.DuckDBPyConnection, what: str, path: Path) -> None:
    try:
        con.execute(f"CREATE {what}")
    except duckdb.Error as error:
        raise DatasetError(f"{path}: cannot be read ({_duckdb_line(error)}); give a whole file, or its dataset to sgpo check") from error


def _name(view: str, number: int) -> str:
    return f"{view}/part-{number:05}.parquet"


def _address(name: str) -> str:
    return f"{SCHEME}://{name}"


def _list(texts: Iterable[str]) -> str:
    return "[" + ", ".join("'" + text.replace("'", "''") + "'" for text in texts) + "]"


def _duckdb_line(error: Exception) -> str:
    text = str(error)
    # A failure inside of the file system comes as its traceback, the last line of which says what it is.
    return text.strip().split("\n")[-1] if text.startswith("Traceback") else " ".join(text.split("\n\n")[0].split())
