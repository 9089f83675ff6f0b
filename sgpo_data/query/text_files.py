"""CSV and JSON files as tables that hold what is in them: typed by all rows, never by a sample."""

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import duckdb
import pyarrow as pa
from pyarrow import csv as arrow_csv

from sgpo_data.connection import quoted
from sgpo_data.errors import DatasetError, first_line

BLOCKS = (1 << 24, 1 << 28, 1 << 30)
"""Bytes of a block that has to hold the longest row, tried in turn: readers allocate a multiple of it."""
DELIMITERS = (",", "\t", ";", "|")
LARGEST_EXACT = 1 << 53
"""A double holds every integer below it."""

LONG_NUMBER = r"(?:^|[^0-9.])[0-9]{16,}(?:$|[^0-9.eE])|[eE]\+?[0-9]{3}"
"""An integer that a double may not hold, or an exponent that it cannot; in a text too, which does no harm."""
_NUMBERED = re.compile(r"(.+)_\d+")
_TOO_SMALL = ("straddling object", "maximum_object_size")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_LOSSY_TYPE = re.compile(r'("(?:[^"]|"")*")|\b(?:UUID|TIME|DATE|TIMESTAMP)\b')
"""Types that are guessed from the form of a text, which they do not keep; names of fields are left alone."""
_EXACT = {
    "BIGINT": "TRY_CAST({0} AS BIGINT)::VARCHAR = {0}",
    "DOUBLE": f"(TRY_CAST({{0}} AS DOUBLE)::VARCHAR = {{0}} AND isfinite(TRY_CAST({{0}} AS DOUBLE)))"
    f" OR (TRY_CAST({{0}} AS BIGINT)::VARCHAR = {{0}} AND TRY_CAST({{0}} AS BIGINT) BETWEEN -{LARGEST_EXACT} AND {LARGEST_EXACT})",
    "BOOLEAN": "{0} IN ('true', 'false')",
}
"""Types that give a text again as it stands, and what tells so."""


@dataclass(frozen=True)
class TextFile:
    """A CSV or JSON file, and the table function of DuckDB that is for its kind."""

    path: Path
    function: str


def create_table(con: duckdb.DuckDBPyConnection, view: str, text: TextFile) -> None:
    """A table of this name with the rows of the file, in their order.

    A column of a CSV file is BIGINT, DOUBLE or BOOLEAN if every value in it is written as that type writes it; otherwise it is VARCHAR, `007` and dates too.
    An empty cell is NULL, a quoted empty cell an empty text; an empty line is a row only where there is one column. Texts of JSON stay texts; numbers that
    no type holds are VARCHAR.
    Raises DatasetError if the file cannot be read.
    """
    for block in BLOCKS:
        try:
            (_from_csv if text.function == "read_csv" else _from_json)(con, view, text.path, block)
        except (duckdb.Error, pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
            if block != BLOCKS[-1] and any(words in str(error) for words in _TOO_SMALL):
                continue
            raise DatasetError(f"{text.path}: cannot be read ({first_line(error)}); give a whole file, or its dataset to sgpo check") from error
        return


def _from_csv(con: duckdb.DuckDBPyConnection, view: str, path: Path, block: int) -> None:
    delimiter, names = _header(path)
    reader = arrow_csv.open_csv(
        path,
        read_options=arrow_csv.ReadOptions(block_size=block, column_names=names, skip_rows_after_names=1, use_threads=False),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=len(names) > 1),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
    con.execute(f"CREATE OR REPLACE TABLE {quoted(view)} ({', '.join(f'{quoted(name)} VARCHAR' for name in names)})")
    for batch in reader:
        con.from_arrow(pa.Table.from_batches([batch])).insert_into(quoted(view))
    _type_columns(con, view, names, ("BIGINT", "DOUBLE", "BOOLEAN"))


def _header(path: Path) -> tuple[str, list[str]]:
    """The delimiter and the names of the columns: a tab in a TSV, otherwise what stands first in the order of DELIMITERS outside of quotes."""
    with pa.input_stream(str(path), compression="detect") as stream, io.TextIOWrapper(cast("BinaryIO", stream), encoding="utf-8-sig", newline="") as lines:
        record = _first_record(lines)
        bare = _QUOTED.sub("", record)
        tabs = ".tsv" in path.suffixes[-2:]
        delimiter = "\t" if tabs else next((each for each in DELIMITERS if each in bare), ",")
        cells = next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter), [])
    if not cells:
        raise DatasetError(f"{path}: its first line is empty; give a file whose first line names the columns")
    return delimiter, list(_names(cells))


def _first_record(lines: Iterable[str]) -> str:
    record = ""
    for line in lines:
        record += line
        if record.count('"') % 2 == 0:
            break
    return record


def _names(cells: list[str]) -> Iterator[str]:
    """The names, with a number behind one that stood before, capitals or not, as SQL knows columns."""
    taken: set[str] = set()
    for place, cell in enumerate(cells):
        name, number = cell or f"column{place}", 1
        while name.lower() in taken:
            name, number = f"{cell or f'column{place}'}_{number}", number + 1
        taken.add(name.lower())
        yield name


def _from_json(con: duckdb.DuckDBPyConnection, view: str, path: Path, block: int) -> None:
    source = "'" + re.sub(r"([*?\[])", r"[\1]", str(path.resolve())).replace("'", "''") + "'"
    # No text has the form of these dates, so texts stay texts.
    options = f"maximum_object_size = {block}, dateformat = '%%', timestampformat = '%%'"
    described = con.execute(f"DESCRIBE FROM read_json({source}, sample_size = -1, {options})").fetchall()
    types = {name: _LOSSY_TYPE.sub(lambda found: found[1] or "VARCHAR", sql_type) for name, sql_type, *_ in described}
    _refuse_keys_alike(con, source, types, place=path)
    nested = [name for name, sql_type in types.items() if "DOUBLE" in sql_type and sql_type != "DOUBLE"]
    types |= dict.fromkeys((name for name in nested if _holds_long_numbers(con, source, name, options)), "JSON")
    # Read as text first: a double would already have rounded an integer that it cannot hold.
    doubles = [name for name, sql_type in types.items() if sql_type == "DOUBLE"]
    read = types | dict.fromkeys(doubles, "VARCHAR")
    columns = ", ".join(f"{_literal(name)}: {_literal(sql_type)}" for name, sql_type in read.items())
    con.execute(f"CREATE OR REPLACE TABLE {quoted(view)} AS FROM read_json({source}, columns = {{{columns}}}, {options})")
    for name in doubles:
        large = f"regexp_full_match({quoted(name)}, '-?[0-9]+') AND NOT coalesce(abs(TRY_CAST({quoted(name)} AS HUGEINT)) <= {LARGEST_EXACT}, false)"
        large = f"({large}) OR (isinf(TRY_CAST({quoted(name)} AS DOUBLE)) AND regexp_matches({quoted(name)}, '[0-9]'))"
        if con.execute(f"SELECT NOT coalesce(bool_or({large}), false) FROM {quoted(view)}").fetchall()[0][0]:
            con.execute(f"ALTER TABLE {quoted(view)} ALTER {quoted(name)} TYPE DOUBLE")


def _refuse_keys_alike(con: duckdb.DuckDBPyConnection, source: str, names: Collection[str], *, place: Path) -> None:
    """Raises DatasetError if two keys differ in capitals alone: DuckDB calls the second X_1, and finds no key of that name."""
    lower = {name.lower() for name in names}
    if not any((numbered := _NUMBERED.fullmatch(name)) and numbered[1].lower() in lower for name in names):
        return
    found = con.execute(f"SELECT DISTINCT unnest(json_keys(json)) FROM read_json_objects({source})").fetchall()
    keys = sorted({key for (key,) in found if key is not None})
    if len(keys) > len({key.lower() for key in keys}):
        raise DatasetError(f"{place}: keys of JSON that differ in capitals alone are one column in SQL (it has {', '.join(keys)}); rename one")


def _holds_long_numbers(con: duckdb.DuckDBPyConnection, source: str, name: str, options: str) -> bool:
    """Whether a double inside of the values of this key may round one of them."""
    columns = f"columns = {{{_literal(name)}: 'JSON'}}"
    found = con.execute(f"SELECT bool_or(regexp_matches({quoted(name)}::VARCHAR, {_literal(LONG_NUMBER)})) FROM read_json({source}, {columns}, {options})")
    return bool(found.fetchall()[0][0])


def _type_columns(con: duckdb.DuckDBPyConnection, view: str, names: list[str], types: tuple[str, ...]) -> None:
    tests = [
        f"coalesce(bool_and({quoted(name)} IS NULL OR coalesce({_EXACT[sql_type].format(quoted(name))}, false)), false)" for name in names for sql_type in types
    ]
    filled = [f"count({quoted(name)}) > 0" for name in names]
    row = con.execute(f"SELECT {', '.join(tests + filled)} FROM {quoted(view)}").fetchall()[0]
    for place, name in enumerate(names):
        exact = row[place * len(types) : (place + 1) * len(types)]
        fitting = next((sql_type for sql_type, fits in zip(types, exact, strict=True) if fits), None)
        if fitting and row[len(tests) + place]:
            con.execute(f"ALTER TABLE {quoted(view)} ALTER {quoted(name)} TYPE {fitting}")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
