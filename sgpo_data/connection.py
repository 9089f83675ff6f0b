"""What every use of DuckDB here shares: how it is opened, quoting, and a place to spill to."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

if TYPE_CHECKING:
    import duckdb

Memory = Literal["machine", "share", "fixed"]
"""machine: as DuckDB takes it by itself, 80 % of what there is; share: less, for what runs beside other work; fixed: the same on every machine."""
LIMITS: dict[Memory, dict[str, str]] = {"machine": {}, "share": {"memory_limit": "60%"}, "fixed": {"memory_limit": "1GiB"}}


Settings = Mapping[str, str | bool | int]
NONE: Settings = {}


def connected(memory: Memory = "machine", *, database: Path | None = None, settings: Settings = NONE) -> "duckdb.DuckDBPyConnection":
    """A connection of its own, in memory unless a file is named; what does not fit goes to a folder that is removed with it."""
    # A command that asks nothing of it does without: it takes a while to import.
    import duckdb

    # Without a place of its own, a connection in memory would spill into the folder it is run in; one of a file spills beside that.
    spill = {"temp_directory": spill_folder()} if database is None else {}
    con = duckdb.connect(database or ":memory:", config={**spill, **LIMITS[memory], **settings})
    # In a notebook, and under python -c, DuckDB draws a bar on standard output by itself, where data goes.
    con.execute("SET enable_progress_bar = false")
    return con


def spill_folder() -> str:
    """A place for what does not fit in memory; DuckDB makes it when it is needed, and removes it when the connection closes."""
    return str(Path(tempfile.gettempdir()) / f"sgpo-{uuid4().hex[:12]}")


def quoted(name: str) -> str:
    """An identifier as SQL."""
    return '"' + name.replace('"', '""') + '"'
