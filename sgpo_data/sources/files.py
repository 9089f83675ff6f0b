"""Raw rows of JSON, JSON Lines, CSV and Parquet files."""

import codecs
import csv
import hashlib
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sgpo_data.errors import DatasetError, first_line
from sgpo_data.sources.json_rows import json_record, rows_of
from sgpo_data.sources.odd_row import Place, Wording
from sgpo_data.sources.record import Record
from sgpo_data.sources.splits import of_split
from sgpo_data.sources.turns import are_turns

COMPRESSIONS = (".gz", ".zst", ".bz2")
PARQUET_BATCH_ROWS = 256
SAVED_TO_DISK = ("dataset_info.json", "state.json", "dataset_dict.json")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file as it was when its content was hashed."""

    path: Path
    name: str
    """Relative to the folder that was named, with forward slashes."""
    digest: str
    stamp: tuple[int, int]
    """Size in bytes and time of change in nanoseconds."""


@dataclass(frozen=True, slots=True)
class RawFiles:
    """One file, or all files of a folder in the order of their names."""

    files: tuple[RawFile, ...]

    @property
    def identity(self) -> str:
        """SHA-256 over names and contents: the same wherever the files lie."""
        names = json.dumps([[file.name, file.digest] for file in self.files], ensure_ascii=True)
        return "file:" + hashlib.sha256(names.encode()).hexdigest()

    def records(self, columns: Collection[str]) -> Iterator[Record]:
        """Every row in order; of other columns than these, the values may be left out.

        Raises DatasetError at the first row that cannot be read, or if a file has changed since its content was hashed.
        """
        for file in self.files:
            yield from _READERS[_kind(file.path)](file, columns)
            with _readable(file.name):
                if _stamp(file.path) != file.stamp:
                    raise DatasetError(f"{file.name}: changed while it was read; run again")


def names_a_file(reference: str) -> bool:
    """Whether this ends as the name of a file that can be read does."""
    return _kind(Path(reference)) in _READERS


def raw_files(path: Path, split: str = "train") -> RawFiles:
    """The file, or all files of a known kind in the folder and its subfolders; hidden ones are left out.

    Where names tell splits, as in a clone of a Hub dataset, only those of `split` are taken, and the others are named in the log.
    Raises DatasetError if there is none.
    """
    kinds = ", ".join(_READERS)
    if path.is_dir():
        with _readable(str(path)):
            named = {found.relative_to(path): found for found in _files_below(path) if found.is_file() and _kind(found) in _READERS}
        if any(found.suffix == ".arrow" for found in named.values()):
            # What save_to_disk writes beside its tables describes them.
            named = {name: found for name, found in named.items() if name.name not in SAVED_TO_DISK}
        if not named:
            raise DatasetError(f"{path}: no file of a known kind in this folder; known are {kinds}")
        taken, others = of_split(map(PurePosixPath, sorted(name.as_posix() for name in named)), split, place=str(path))
        if others:
            log.info("%s: split %s; not read: %s", path, split, ", ".join(map(str, others[:5])) + (f" and {len(others) - 5} more" if len(others) > 5 else ""))
        return RawFiles(tuple(_raw_file(path / name, str(name)) for name in taken))
    if not path.exists():
        raise DatasetError(f"no such file or folder: {path}")
    if _kind(path) not in _READERS:
        raise DatasetError(f"{path}: not a kind of file that can be read (found {path.suffix or 'no suffix'}); known are {kinds}")
    return RawFiles((_raw_file(path, path.name),))


def _files_below(path: Path) -> Iterator[Path]:
    """All that is no folder, hidden ones left out; Path.rglob passes over a folder that may not be listed."""
    for folder, subfolders, names in os.walk(path, onerror=_refuse_folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _refuse_folder(error: OSError) -> None:
    raise DatasetError(f"{error.filename}: may not be listed ({error.strerror or error}); change its permissions, or move it away") from error


def _raw_file(path: Path, name: str) -> RawFile:
    with _readable(name), path.open("rb") as file:
        return RawFile(path, name, hashlib.file_digest(file, "sha256").hexdigest(), _stamp(path))


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _kind(path: Path) -> str:
    name = path.name.lower()
    for compression in COMPRESSIONS:
        if name.endswith(compression):
            kind = Path(name.removesuffix(compression)).suffix
            # Parquet is compressed inside.
            return compression if kind == ".parquet" else kind
    return Path(name).suffix


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{name}: cannot be read: {error.strerror or error}") from error


def _lines(file: RawFile) -> Iterator[tuple[int, bytes]]:
    """Lines as they are, decompressed by the file's suffix, without the byte order mark, with their numbers from 1."""
    with _readable(file.name), pa.input_stream(str(file.path)) as stream:
        for number, line in enumerate(io.BufferedReader(cast(io.RawIOBase, stream)), 1):
            yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def _filled_lines(file: RawFile) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in _lines(file) if line.strip())


def _record(file: RawFile, values: object, where: str) -> Record:
    return json_record(values, f"{file.name}, {where}", file.name)


def _json_lines(file: RawFile, columns: Collection[str]) -> Iterator[Record]:
    for number, line in _filled_lines(file):
        yield _record(file, _parsed(line, f"{file.name}, line {number}"), f"line {number}")


def _parsed(line: bytes, place: str) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        # NaN and lone surrogates are refused there also in columns that nobody reads.
        return _parsed_leniently(_decoded(line, place), place)


def _parsed_leniently(text: str, place: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        found = text[error.pos : error.pos + 20].strip()
        where = f"line {error.lineno}, " if "\n" in text.rstrip() else ""
        raise DatasetError(f"{place}: not JSON: {error.msg} at {where}column {error.colno} (found {found!r})") from error
    except RecursionError as error:
        raise DatasetError(f"{place}: not JSON that can be read: nested too deeply") from error
    except ValueError as error:
        raise DatasetError(f"{place}: not JSON that can be read: an integer of more than {sys.get_int_max_str_digits()} digits") from error


def _decoded(line: bytes, place: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{place}: not UTF-8: byte 0x{line[error.start]:02x} at byte {error.start + 1}; convert the file to UTF-8") from error


def _json(file: RawFile, columns: Collection[str]) -> Iterator[Record]:
    """A list of rows, an object whose one list holds them, one row, or JSON Lines."""
    if _holds_lines(file):
        yield from _json_lines(file, columns)
        return
    whole = b"".join(line for _, line in _lines(file))
    if not whole.strip():
        return
    for number, values in enumerate(rows_of(_parsed(whole, file.name), columns, name=file.name), 1):
        yield _record(file, values, f"row {number}")


def _holds_lines(file: RawFile) -> bool:
    """Whether the first line is a row by itself and others follow."""
    lines = _filled_lines(file)
    _, first = next(lines, (0, b""))
    try:
        value = orjson.loads(first)
        return (isinstance(value, dict) or are_turns(value)) and next(lines, None) is not None
    except orjson.JSONDecodeError:
        return False


def _csv(file: RawFile, columns: Collection[str]) -> Iterator[Record]:
    """Commas, double quotes, a first line of names; every value is text."""
    csv.field_size_limit(sys.maxsize)  # One limit for the whole process, 128 KiB unless told otherwise.
    reader = csv.reader((_decoded(line, f"{file.name}, line {number}") for number, line in _lines(file)), strict=True)
    start = 1
    header: tuple[str, ...] | None = None
    try:
        for row in reader:
            if header is None:
                header = tuple(name.strip() for name in row)
                twice = sorted({name for name in header if header.count(name) > 1})
                if twice:
                    raise DatasetError(f"{file.name}: column {', '.join(map(repr, twice))} stands twice in the first line")
            elif row and len(row) != len(header):
                found = Wording(f"{len(row)} values for {len(header)} columns ({', '.join(header)})", "another number of values than columns")
                fault = Place(f"{file.name}, line {start}").odd("{}", found)
                yield Record({}, (), f"{file.name}, line {start}", file.name, fault)
            elif row:
                yield Record(dict(zip(header, row, strict=True)), header, f"{file.name}, line {start}", file.name)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DatasetError(f"{file.name}, line {start}: not CSV: {error}") from error


def _parquet(file: RawFile, columns: Collection[str]) -> Iterator[Record]:
    try:
        with _readable(file.name), pq.ParquetFile(file.path) as opened:
            names = tuple(opened.schema_arrow.names)
            wanted = [name for name in names if name in columns]
            first = 1
            for batch in opened.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=wanted):
                yield from arrow_records(batch, names, name=file.name, first=first)
                first += batch.num_rows
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DatasetError(f"{file.name}: not a whole Parquet file: {first_line(error)}") from error


def _arrow(file: RawFile, columns: Collection[str]) -> Iterator[Record]:
    """As `datasets.Dataset.save_to_disk` writes it: a stream of batches."""
    try:
        with _readable(file.name), pa.memory_map(str(file.path)) as opened:
            reader = pa.ipc.open_stream(opened)
            names, first = tuple(reader.schema.names), 1
            wanted = [name for name in names if name in columns]
            for whole in reader:
                # Lengths and offsets are taken as they stand in the file, and broken ones end the process.
                whole.validate(full=True)
                for start in range(0, whole.num_rows, PARQUET_BATCH_ROWS):
                    batch = whole.slice(start, PARQUET_BATCH_ROWS).select(wanted)
                    yield from arrow_records(batch, names, name=file.name, first=first)
                    first += batch.num_rows
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DatasetError(f"{file.name}: not a whole Arrow file: {first_line(error)}") from error


def arrow_records(batch: pa.RecordBatch, columns: tuple[str, ...], *, name: str, first: int) -> Iterator[Record]:
    """The rows of a batch whose first one is row `first` of the source `name`.

    Raises DatasetError, naming the row, if a text has other bytes than UTF-8, or if Python has no such value: a day after the year 9999, a nanosecond.
    """
    try:
        rows = batch.to_pylist()
    except (pa.ArrowException, ArithmeticError, LookupError, ValueError) as error:
        if batch.num_rows > 1:
            for number in range(batch.num_rows):
                yield from arrow_records(batch.slice(number, 1), columns, name=name, first=first + number)
        raise DatasetError(f"{name}, row {first}: {_unreadable(error)}") from error
    for number, values in enumerate(rows, first):
        yield Record(values, columns, f"{name}, row {number}", name)


def _unreadable(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8: byte 0x{error.object[error.start]:02x} at byte {error.start + 1} of a text"
    return f"holds a value that cannot be read: {first_line(error)}; cast its column to text"


_READERS: dict[str, Callable[[RawFile, Collection[str]], Iterator[Record]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
}
