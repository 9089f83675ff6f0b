"""A DuckDB connection that reads the tables it is given, for queries that nobody has vetted."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self, TypedDict, Unpack
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from pyarrow import fs

from sgpo_data.dataset import Dataset
from sgpo_data.errors import RecipeError, SgpoError
from sgpo_data.schema import schema

MEMORY_LIMIT = "60%"
SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    # Otherwise a table name that is not found is looked up among the variables of the Python caller.
    "python_enable_replacements": False,
    "memory_limit": MEMORY_LIMIT,
}


class _Scan(TypedDict, total=False):
    columns: list[str]
    filter: pc.Expression
    batch_size: int


class _Parts(pads.FileSystemDataset):
    """The parts of a dataset as DuckDB asks for them: the columns and rows of a query, one batch ahead.

    Arrow's own readahead is 16 batches of 4 files, which for long texts is gigabytes that no memory limit counts.
    """

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """All rows, in order, read when they are asked for."""
        file_format, system = pads.ParquetFileFormat(), fs.LocalFileSystem()
        parts = [file_format.make_fragment(str(path.resolve()), system) for path in dataset.paths]
        return cls(parts, schema(dataset.table).arrow, file_format, system)

    def scanner(self, **asked: Unpack[_Scan]) -> pads.Scanner:  # type: ignore[override]
        """A scanner that holds one batch ready."""
        return super().scanner(**asked, batch_readahead=1, fragment_readahead=1)


def spill_folder() -> str:
    """A place for what does not fit in memory; DuckDB makes it when it is needed, and removes it when the connection closes."""
    return str(Path(tempfile.gettempdir()) / f"sgpo-{uuid4().hex[:12]}")


def sandbox(datasets: Mapping[str, Dataset], tables: Mapping[str, pa.Table], unions: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
    """A connection with a view for each dataset, table and union (a SELECT over the others), in which nothing else can be read or written.

    No path is open to it: rows come through Arrow. DuckDB's allowed_paths would open the parts for writing too, and
    WITH x AS (COPY ... TO <part>) SELECT ... counts as a SELECT.
    """
    con = duckdb.connect(":memory:", config={**SETTINGS, "temp_directory": spill_folder()})
    for name, dataset in datasets.items():
        con.register(name, _Parts.of(dataset) if dataset.paths else schema(dataset.table).arrow.empty_table())
    for name, table in tables.items():
        con.register(name, table)
    for name, query in unions.items():
        con.execute(f"CREATE VIEW {quoted(name)} AS {query}")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    return con


def selected(con: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyRelation:
    """What one SELECT gives, lazily; the relation keeps the connection.

    Raises RecipeError if the query is no SELECT, if it is several, or if DuckDB can not plan it.
    """
    try:
        statements = con.extract_statements(query)
        if len(statements) != 1:
            raise RecipeError(f"sql: {len(statements)} statements; give one SELECT")
        kind = statements[0].type.name
        if kind == "MULTI":
            raise RecipeError("sql: PIVOT has to name its columns here; write FROM (PIVOT t ON x IN ('a', 'b') USING ...)")
        if kind != "SELECT":
            raise RecipeError(f"sql: {kind} is not possible, sql only reads; give one SELECT (WITH, FROM, DESCRIBE and SUMMARIZE too)")
        relation = con.sql(query)
    except duckdb.Error as error:
        raise query_error(error) from error
    assert relation is not None
    return relation


def query_error(error: Exception) -> SgpoError:
    """What DuckDB says of a query, in one line: its message and the candidates it offers, without the excerpt."""
    message = " ".join(str(error).split("\n\n")[0].split())
    if isinstance(error, duckdb.PermissionException):
        message += "; sql only reads the tables it was given, give other data as a REF"
    elif isinstance(error, duckdb.CatalogException):
        message += "; what there is: SHOW TABLES"
    return RecipeError(f"sql: {message}")


def quoted(name: str) -> str:
    """An identifier as SQL."""
    return '"' + name.replace('"', '""') + '"'
