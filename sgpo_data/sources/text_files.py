"""Raw rows of JSON, JSON Lines, CSV and TSV files."""

import codecs
import csv
import io
import json
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import cast

import orjson
import pyarrow as pa

from sgpo_data.errors import DatasetError
from sgpo_data.sources.json_objects import keeps_all_keys, object_of
from sgpo_data.sources.json_rows import json_record, rows_of
from sgpo_data.sources.odd_row import BrokenRowError, OddRowError, Place, Wording
from sgpo_data.sources.raw_file import COMPRESSIONS, RawFile, readable, refuse_twice
from sgpo_data.sources.record import Record
from sgpo_data.sources.turns import are_turns

OTHER_SEPARATORS = (";", "\t", "|", ",")


def _lines(file: RawFile) -> Iterator[tuple[int, bytes]]:
    """Lines as they are, decompressed by the file's suffix, without the byte order mark, with their numbers from 1."""
    packed = COMPRESSIONS.get(file.path.suffix.lower(), "detect")
    with readable(file.name), pa.input_stream(str(file.path), compression=packed) as stream:
        for number, line in enumerate(io.BufferedReader(cast(io.RawIOBase, stream)), 1):
            if number == 1:
                _refuse_wide(line, file.name)
                line = line.removeprefix(codecs.BOM_UTF8)
            yield number, line


def _refuse_wide(start: bytes, name: str) -> None:
    # RFC 4627, section 3: what begins with two characters of ASCII has NUL bytes among the first four in UTF-16 and UTF-32 alone.
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or start[:4].count(0) >= 2:
        encoding = "UTF-32" if start[:4].count(0) >= 3 or start[:4] == codecs.BOM_UTF32_LE else "UTF-16"
        raise DatasetError(f"{name}: {encoding}, not UTF-8 (begins with the bytes {start[:4].hex(' ')}); convert it: iconv -f {encoding} -t UTF-8")


def _filled_lines(file: RawFile) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in _lines(file) if line.strip())


def json_line_rows(file: RawFile, columns: Collection[str]) -> Iterator[Record]:
    """An object a line; a line that is no JSON is a row with a fault."""
    for number, line in _filled_lines(file):
        where = f"{file.name}, line {number}"
        try:
            yield json_record(_parsed(line.rstrip(b"\r\n"), Place(where)), where, file.name)
        except BrokenRowError as error:
            yield Record({}, (), where, file.name, error)


def _parsed(line: bytes, place: Place) -> object:
    """Its value, with an `OverwrittenObject` where a key stands twice."""
    # NaN and lone surrogates are refused there also in columns that nobody reads.
    with suppress(orjson.JSONDecodeError):
        value = orjson.loads(line)
        if keeps_all_keys(line, value):
            return value
    return _parsed_leniently(_decoded(line, place), place)


def _parsed_leniently(text: str, place: Place) -> object:
    try:
        return json.loads(text, object_pairs_hook=object_of)
    except json.JSONDecodeError as error:
        fault, found = error.msg.removesuffix(" at"), text[error.pos : error.pos + 20].strip()
        where = f"line {error.lineno}, " if "\n" in text.rstrip() else ""
        raise place.broken("not JSON{}", Wording(f": {fault} at {where}column {error.colno} (found {found!r})", "")) from error
    except RecursionError as error:
        raise place.broken("not JSON that can be read: nested too deeply") from error
    except ValueError as error:
        raise place.broken(f"not JSON that can be read: an integer of more than {sys.get_int_max_str_digits()} digits") from error


def _decoded(line: bytes, place: Place) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise place.broken("not UTF-8{}", Wording(f": byte 0x{line[error.start]:02x} at byte {error.start + 1}; convert the file to UTF-8", "")) from error


def json_rows(file: RawFile, columns: Collection[str]) -> Iterator[Record]:
    """A list of rows, an object whose one list holds them, one row, or JSON Lines."""
    if _holds_lines(file):
        yield from json_line_rows(file, columns)
        return
    whole = b"".join(line for _, line in _lines(file))
    if not whole.strip():
        return
    try:
        value = _parsed(whole, Place(file.name))
    except BrokenRowError as error:
        if not _mostly_rows(file):
            raise DatasetError(str(error)) from error
        yield from json_line_rows(file, columns)
        return
    for number, values in enumerate(rows_of(value, columns, name=file.name), 1):
        yield json_record(values, f"{file.name}, row {number}", file.name)


def _holds_lines(file: RawFile) -> bool:
    """Whether the first line is a row by itself and others follow."""
    lines = _filled_lines(file)
    _, first = next(lines, (0, b""))
    return _is_row(first) and next(lines, None) is not None


def _mostly_rows(file: RawFile) -> bool:
    """Whether more than half of the lines are rows by themselves, as where only the first line is broken."""
    rows = [_is_row(line) for _, line in _filled_lines(file)]
    return 2 * sum(rows) > len(rows)


def _is_row(line: bytes) -> bool:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) or are_turns(value)


def csv_rows(file: RawFile, columns: Collection[str]) -> Iterator[Record]:
    """Commas, double quotes, a first line of names; every value is text."""
    return _separated_rows(file, columns, separator=",")


def tsv_rows(file: RawFile, columns: Collection[str]) -> Iterator[Record]:
    """The same with tabs."""
    return _separated_rows(file, columns, separator="\t")


def _separated_rows(file: RawFile, columns: Collection[str], *, separator: str) -> Iterator[Record]:
    csv.field_size_limit(sys.maxsize)  # One limit for the whole process, 128 KiB unless told otherwise.
    # Bytes that are no text spoil their own row only.
    reader = csv.reader((line.decode(errors="surrogateescape") for _, line in _lines(file)), delimiter=separator, strict=True)
    start = 1
    header: tuple[str, ...] | None = None
    try:
        for row in reader:
            place = Place(f"{file.name}, line {start}")
            if header is None:
                header = _header(row, place, columns)
            elif row:
                fault = _csv_fault(row, header, place)
                yield Record({}, (), place.row, file.name, fault) if fault else Record(dict(zip(header, row, strict=True)), header, place.row, file.name)
            start = reader.line_num + 1
    except csv.Error as error:
        hint = "write a value that holds a quotation mark in quotation marks, and each of its own twice"
        raise DatasetError(f"{file.name}, line {start}: not CSV: {error}; {hint}") from error


def _header(row: list[str], place: Place, columns: Collection[str]) -> tuple[str, ...]:
    fault = _csv_fault(row, (*row,), place)
    if fault:
        raise DatasetError(f"{fault}; convert the file to UTF-8")
    if len(row) == 1 and (other := next((mark for mark in OTHER_SEPARATORS if mark in row[0]), None)):
        raise DatasetError(f"{place.row}: one column, {row[0]!r}, so values seem to stand between {other!r}; convert the file to CSV with commas")
    header = tuple(column.strip() for column in row)
    refuse_twice(header, columns, place.row)
    return header


def _csv_fault(row: list[str], header: tuple[str, ...], place: Place) -> OddRowError | None:
    if len(row) != len(header):
        found = Wording(f"{len(row)} values for {len(header)} columns ({', '.join(header)})", "another number of values than columns")
        return place.odd("{}", found)
    try:
        ",".join(row).encode()
    except UnicodeEncodeError as error:
        return place.broken("not UTF-8{}", Wording(f": byte 0x{ord(error.object[error.start]) - 0xDC00:02x}", ""))
    return None
