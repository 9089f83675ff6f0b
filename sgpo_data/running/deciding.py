"""The connection in which a table-wise stage decides: one dataset is view `input`, and nothing else can be read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from sgpo_data.connection import connected
from sgpo_data.running.verdicts import rewarded_input
from sgpo_data.store.dataset import Dataset, Readable, unreadable
from sgpo_data.store.streamed import StreamedDataset

MEMORY = 1 << 30
"""Most bytes that DuckDB holds, however many the machine has: an aggregate over more rows than fit goes on in files."""

_CLOSED: dict[str, str | bool | int] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}
_ARROW_FAULT = re.compile(r"reading the Arrow source failed: (\w+Error: )?(?P<why>[^\n]+?)(\. Detail:|\n|$)")
"""What DuckDB says where the source of rows has raised something."""
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@contextmanager
def deciding(source: Readable, spill: Path, *, verdicts: Readable | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the rows of the dataset, numbered by `position`; what does not fit in memory goes to the folder `spill` while it is open.

    With verdicts, rewards are what they say: of `improved` how far it is preferred to `response`, from 0 to 1, and of `response` the rest.
    Raises DatasetError if they judge none of the rows, or if the rows have the rewards of a model already, or if a part cannot be read; HubError or
    StorageError if rows that are read where they lie stop coming.
    """
    with connected(settings={"temp_directory": str(spill), **_CLOSED}) as con:
        # A cache of files would fill the memory with what is read once.
        con.execute("SET enable_external_file_cache = false")
        con.execute(f"SET memory_limit = '{min(MEMORY, _automatic_limit(con))}B'")
        con.execute("SET allowed_paths = ?", [[*source.readable, *(verdicts.readable if verdicts else ())]])
        # Rules of a recipe are run here. They are checked, and this is the second lock.
        con.execute("SET enable_external_access = false")
        try:
            if verdicts is None:
                source.numbered(con).create_view("input")
            else:
                rewarded_input(con, source, verdicts)
            con.execute("SET lock_configuration = true")
            yield con
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            if isinstance(source, StreamedDataset) and (told := _ARROW_FAULT.search(str(error))):
                raise source.failure(f"{source.place}: could not be read on ({told['why'].strip()}); run the same command again") from error
            # Of rules of a recipe RecipeError has told before.
            if isinstance(source, Dataset) and isinstance(error, duckdb.InvalidInputException):
                raise unreadable(source.folder, error) from error
            raise


def _automatic_limit(con: duckdb.DuckDBPyConnection) -> int:
    """Bytes that DuckDB would take by itself: a share of what the machine or the container has."""
    ((text,),) = con.execute("SELECT current_setting('memory_limit')").fetchall()
    number, unit = str(text).split()
    return int(float(number) * _UNITS[unit])
