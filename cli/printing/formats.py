"""Rows of a query as a table, CSV, JSON, JSON lines or Parquet."""

import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from itertools import count
from typing import BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sgpo_data.errors import UsageError

from .printable import cut, printable, printable_json

CELL_CHARACTERS = 400
CELL_LINES = 40
COLUMN_WIDTH = 7
"""Narrower columns tell nothing: rows of more columns than fit are printed one value a line."""

_QUOTE_NEEDED = re.compile(r"""[,;|"\ufeff]|[^\S ]|^ | $""")

Batches = Iterator[pa.RecordBatch]


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"


def write_table(batches: Batches, names: list[str], out: BinaryIO, *, width: int) -> None:
    """A box for people: texts cut to the width, control characters written as escapes. Holds all rows.

    A text of several lines is shown in lines if all of them fit, as wrap() sees to, and in one line with escapes if not.
    """
    rows = [[_cell(value) for value in row] for row in _rows(batches)]
    text = io.StringIO()
    console = Console(file=text, width=width, color_system=None, highlight=False, emoji=False)
    if len(names) * (COLUMN_WIDTH + 3) + 1 <= width or not rows:
        console.print(_box(names, rows, width))
    else:
        _print_records(console, names, rows)
    out.write(text.getvalue().encode())


def write_csv(batches: Batches, names: list[str], out: BinaryIO) -> None:
    """CSV with a header; null is empty and an empty text is "", lists and structs are JSON. Texts are as they are, control characters too."""
    _write_csv_row(names, out)
    for row in _rows(batches):
        _write_csv_row([None if json_value(value) is None else _plain_text(value) for value in row], out)


def write_json(batches: Batches, names: list[str], out: BinaryIO) -> None:
    """One JSON array of objects, one line each."""
    names, before = _distinct(names), b"[\n"
    for row in _rows(batches):
        out.write(before + _json_row(names, row))
        before = b",\n"
    out.write(b"\n]\n" if before == b",\n" else b"[]\n")


def write_jsonl(batches: Batches, names: list[str], out: BinaryIO) -> None:
    """One JSON object a line."""
    names = _distinct(names)
    for row in _rows(batches):
        out.write(_json_row(names, row) + b"\n")


def write_parquet(batches: Batches, schema: pa.Schema, out: BinaryIO) -> None:
    """One Parquet file.

    Raises UsageError if a column is of a type that Parquet has not.
    """
    named = pa.schema([field.with_name(name) for field, name in zip(schema, _distinct(schema.names), strict=True)])
    try:
        writer = pq.ParquetWriter(out, named, compression="zstd")
    except pa.ArrowException as error:
        raise UsageError(f"--format parquet: {error}; cast that column in the query") from error
    with writer:
        for batch in batches:
            writer.write_batch(batch.rename_columns(named.names))


def json_value(value: object) -> object:
    """The value as JSON has it: dates and times as ISO 8601, what is not finite as null, bytes as hex digits."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
        case Mapping():
            return {str(key): json_value(inner) for key, inner in value.items()}
        case list() | tuple():
            return [json_value(inner) for inner in value]
        case _:
            return str(value)


def _rows(batches: Batches) -> Iterator[list[object]]:
    for batch in batches:
        columns = [column.to_pylist(maps_as_pydicts="lossy") for column in batch.columns]
        yield from (list(row) for row in zip(*columns, strict=True))


def _distinct(names: list[str]) -> list[str]:
    """The names, with a number behind one that stood before: JSON and Parquet know columns by name alone."""
    found: list[str] = []
    for name in names:
        found.append(name if name not in found else next(other for number in count(2) if (other := f"{name}_{number}") not in [*names, *found]))
    return found


def _json_row(names: list[str], row: list[object]) -> bytes:
    record = dict(zip(names, row, strict=True))
    try:
        text = orjson.dumps(record, default=json_value, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        # Integers of more than 64 bits, which sums of integers can be.
        text = json.dumps(json_value(record), ensure_ascii=False, separators=(",", ":"))
    return printable_json(text).encode()


def _plain_text(value: object) -> str:
    plain = json_value(value)
    return "" if plain is None else plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _write_csv_row(cells: Sequence[str | None], out: BinaryIO) -> None:
    out.write((",".join(map(_csv_cell, cells)) + "\n").encode())


def _csv_cell(text: str | None) -> str:
    """Quotes tell an empty text from null, which the writer of the standard library cannot do; it leaves a carriage return bare besides."""
    if text is None:
        return ""
    return '"' + text.replace('"', '""') + '"' if not text or _QUOTE_NEEDED.search(text) else text


@dataclass(frozen=True)
class _Cell:
    """A value on one line, and in the lines of its own if it has several."""

    line: Text
    lines: Text | None

    @property
    def width(self) -> int:
        """Characters it takes to show it whole."""
        return self.line.cell_len if self.lines is None else max(part.cell_len for part in self.lines.split("\n"))

    def fitting(self, width: int) -> Text:
        """The value as it is shown in this width."""
        return self.lines if self.lines is not None and self.width <= width else self.line


def _cell(value: object) -> _Cell:
    text = "NULL" if value is None else f"{value:.6g}" if isinstance(value, float) else _plain_text(value)
    numeric = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    shown = Text(printable(cut(text, CELL_CHARACTERS)), justify="right" if numeric else "left", no_wrap=True, overflow="ellipsis")
    parts = text.split("\n")
    several = isinstance(value, str) and 1 < len(parts) <= CELL_LINES
    return _Cell(shown, Text("\n".join(map(printable, parts)), no_wrap=True) if several else None)


def _box(names: list[str], rows: list[list[_Cell]], width: int) -> Table:
    heads = [Text(printable(name), no_wrap=True, overflow="ellipsis") for name in names]
    natural = [max([head.cell_len, *(cell.width for cell in column)]) for head, *column in zip(heads, *rows, strict=True)]
    shares = _shares(natural, width - 3 * len(names) - 1)
    shown = [[cell.fitting(share) for cell, share in zip(row, shares, strict=True)] for row in rows]
    table = Table(box=box.ROUNDED, show_lines=any("\n" in text.plain for row in shown for text in row))
    for head, share in zip(heads, shares, strict=True):
        table.add_column(head, width=share)
    for texts in shown:
        table.add_row(*texts)
    return table


def _shares(natural: list[int], room: int) -> list[int]:
    """Widths of columns that fit in the room: narrow ones whole, the wide ones share what is left."""
    shares = [0] * len(natural)
    for done, column in enumerate(sorted(range(len(natural)), key=natural.__getitem__)):
        shares[column] = max(1, min(natural[column], (room - sum(shares)) // (len(natural) - done)))
    return shares


def _print_records(console: Console, names: list[str], rows: list[list[_Cell]]) -> None:
    labels = [printable(name) for name in names]
    margin = max(map(len, labels))
    for number, row in enumerate(rows, 1):
        console.print(Text(f"── row {number} ".ljust(console.width, "─")))
        for label, cell in zip(labels, row, strict=True):
            line = Text(f"{label.ljust(margin)}  {cell.line.plain}")
            line.truncate(console.width, overflow="ellipsis")
            console.print(line)
