"""Source files of any bytes and any values: rows that are read or left out with a reason, or one line."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import changed, hold_both, numbered, refused, text, value, written

from sgpo_data.schema import schema
from sgpo_data.sources.files import raw_files
from sgpo_data.sources.options import Source
from sgpo_data.sources.record import Record
from sgpo_data.sources.source import open_source

TURNS = [{"role": "user", "content": "Name a tool."}, {"role": "assistant", "content": "A saw."}]
ROWS: tuple[dict[str, object], ...] = (
    {"messages": TURNS},
    {"prompt": "Name a tool.", "chosen": "A saw.", "rejected": "1"},
    {"prompt": "Name a tool.", "completion": "A saw.", "label": True},
    {"instruction": "Name", "input": "a tool", "output": "A saw.", "history": [["a", "b"]]},
    {"question": "Which?", "choices": {"label": ["A", "B"], "text": ["saw", "tea"]}, "answerKey": "A"},
    {"conversations": [{"from": "human", "value": "Name a tool."}, {"from": "gpt", "value": "A saw."}]},
    {"messages": [*TURNS, {"role": "assistant", "content": [{"type": "text", "text": "a"}], "tool_calls": [], "weight": 0}], "tools": []},
)


def json_lines(rng: Random) -> tuple[str, bytes]:
    return "x.jsonl", b"\n".join(written(rng, _row(rng)) for _ in range(rng.randint(1, 2)))


def json_file(rng: Random) -> tuple[str, bytes]:
    rows = [_row(rng) for _ in range(rng.randint(1, 2))]
    return "x.json", written(rng, rng.choice((rows, {"data": rows}, rows[0])))


def _row(rng: Random) -> object:
    row = rng.choice(ROWS)
    return changed(rng, row) if rng.random() < 0.7 else row


def csv_file(rng: Random) -> tuple[str, bytes]:
    row = rng.choice(ROWS)
    out = io.StringIO()
    name, separator = rng.choice((("x.csv", ","), ("x.tsv", "\t")))
    table = csv.writer(out, delimiter=separator)
    table.writerow([name if rng.random() < 0.9 else text(rng) for name in row])
    for _ in range(rng.randint(1, 3)):
        table.writerow([text(rng) for _ in range(len(row) if rng.random() < 0.9 else 3)])
    return name, _torn(rng, out.getvalue().encode(errors="surrogatepass"))


def compressed(rng: Random) -> tuple[str, bytes]:
    name, content = rng.choice((json_lines, json_file, csv_file))(rng)
    suffix, packed = rng.choice(((".gz", gzip.compress(content)), (".bz2", bz2.compress(content)), (".zst", pa.compress(content, "zstd", asbytes=True))))
    return name + suffix, _torn(rng, packed)


def parquet_file(rng: Random) -> tuple[str, bytes]:
    out = io.BytesIO()
    try:
        pq.write_table(_table(rng), out)
    except pa.ArrowException:
        # Parquet has no object without keys.
        return "x.parquet", b"PAR1"
    return "x.parquet", _torn(rng, out.getvalue())


def arrow_file(rng: Random) -> tuple[str, bytes]:
    out, table = io.BytesIO(), _table(rng)
    with pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    return "x.arrow", _torn(rng, out.getvalue())


def _table(rng: Random) -> pa.Table:
    return pa.table({name: _column(rng, held) for name, held in rng.choice(ROWS[:-1]).items()})


def _column(rng: Random, held: object) -> pa.Array[pa.Scalar[pa.DataType]]:
    number = rng.choice((0, -1, 2**31 - 1, 2**62, -(2**63)))
    match rng.randrange(8):
        case 0:
            return pa.array([number, None], pa.int64()).view(rng.choice((pa.timestamp("us"), pa.timestamp("ns", "UTC"), pa.duration("ms"))))
        case 1:
            return pa.array([rng.randrange(-(2**31), 2**31), None], pa.int32()).view(rng.choice((pa.date32(), pa.time32("s"))))
        case 2:
            return pa.array([bytes(rng.randrange(256) for _ in range(4)), b"ok"], pa.binary()).view(pa.string())
        case 3:
            try:
                return pa.array([value(rng), value(rng)])  # type: ignore[list-item]
            except (pa.ArrowException, OverflowError, UnicodeEncodeError):
                return pa.array([None, None])
        case _:
            return pa.array([json.dumps(held) if isinstance(held, list | dict) and rng.random() < 0.2 else held] * 2)  # type: ignore[list-item]


def _torn(rng: Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    match rng.randrange(8):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + bytes(rng.randrange(256) for _ in range(rng.randint(1, 4))) + content[at + 2 :]
        case _:
            return content


@pytest.mark.parametrize("kind", [json_lines, json_file, csv_file, compressed, parquet_file, arrow_file])
def test_every_source_is_rows_or_one_line(kind: Callable[[Random], tuple[str, bytes]], tmp_path: Path) -> None:
    refusals = []
    for rng in numbered(kind.__name__):
        name, content = kind(rng)
        (tmp_path / name).write_bytes(content)
        refusals.append(refused(lambda name=name: _read(tmp_path / name)))  # type: ignore[misc]
        (tmp_path / name).unlink()
    hold_both(refusals)


def _read(path: Path) -> None:
    """The rows as the table they become, without the database that sorts them, which takes most of the time."""
    pa.Table.from_pylist(list(open_source(str(path), Source()).prompts()), schema("prompts").arrow)


def rows(folder: Path, columns: dict[str, pa.Array[pa.Scalar[pa.DataType]]]) -> Sequence[Record]:
    pq.write_table(pa.table(columns), folder / "x.parquet")
    return list(raw_files(folder / "x.parquet").records(columns))


@pytest.mark.parametrize(
    "held",
    [
        pa.array([0, 2**31 - 1], pa.int32()).view(pa.date32()),
        pa.array([0, 2**62 // 10**6], pa.timestamp("s")),
        pa.array([timedelta(0), None]).cast(pa.duration("s")).fill_null(pa.scalar(2**62, pa.duration("s"))),  # type: ignore[arg-type]
    ],
)
def test_a_date_that_python_cannot_hold_names_its_row(held: pa.Array[pa.Scalar[pa.DataType]], tmp_path: Path) -> None:
    first, second = rows(tmp_path, {"prompt": held})
    assert first.fault is None
    assert str(second.fault).startswith("x.parquet, row 2: holds a value that cannot be read")


def test_an_integer_of_too_many_digits_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"prompt": "a"}\n{"prompt": ' + "9" * 5000 + "}\n")
    _, second = raw_files(tmp_path / "x.jsonl").records(["prompt"])
    assert str(second.fault) == "x.jsonl, line 2: not JSON that can be read: an integer of more than 4300 digits"
