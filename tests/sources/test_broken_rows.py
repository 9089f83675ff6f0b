"""Lines and rows that their file does not hold as its kind writes them: left out and counted, or the file is refused."""

import bz2
import gzip
import logging
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sgpo_data.errors import DatasetError, SchemaError
from sgpo_data.execution import Execution
from sgpo_data.printable import HOSTILE
from sgpo_data.sources.options import Source
from sgpo_data.sources.prompts import read_prompts
from sgpo_data.sources.source import open_source

GOOD = b'{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": "c"}\n'
BROKEN: dict[str, tuple[bytes, str]] = {
    "cut": (b'{"prompt": "d', "1 not JSON (first: x.jsonl, line 2: Unterminated string starting at column 12 (found '\"d'))"),
    "no JSON": (b"<html>", "1 not JSON (first: x.jsonl, line 2: Expecting value at column 1 (found '<html>'))"),
    "two objects": (b'{"prompt": "d"}{"prompt": "e"}', "1 not JSON (first: x.jsonl, line 2: Extra data at column 16"),
    "other bytes": (b'{"prompt": "\xff"}', "1 not UTF-8 (first: x.jsonl, line 2: byte 0xff at byte 13; convert the file to UTF-8)"),
    "zeros": (bytes(100), "1 not JSON (first: x.jsonl, line 2: Expecting value at column 1"),
    "nested": (b"[" * 100_000, "1 not JSON that can be read: nested too deeply (first: x.jsonl, line 2)"),
    "a number of many digits": (
        b'{"prompt": ' + b"9" * 5000 + b"}",
        "not JSON that can be read: an integer of more than 4300 digits (first: x.jsonl, line 2)",
    ),
}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
}


def texts(path: Path, **options: object) -> list[str]:
    batches = open_source(str(path), Source.model_validate(options)).batches()
    return [row["messages"][-1]["content"] for batch in batches for row in batch.to_pylist()]


def with_second_line(line: bytes) -> bytes:
    first, rest = GOOD.split(b"\n", 1)
    return b"\n".join((first, line, rest))


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("packed", PACKED)
def test_a_broken_line_is_left_out_and_counted_with_its_number(name: str, packed: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    line, said = BROKEN[name]
    path = tmp_path / f"x.jsonl{packed}"
    path.write_bytes(PACKED[packed](with_second_line(line)))
    prompts = read_prompts(str(path), Source(), Execution(root=tmp_path / "runs"))
    assert [row[0]["content"] for row in prompts.scan().collect()["messages"].to_list()] == ["a", "b", "c"]
    said = said.replace("x.jsonl", path.name)
    assert said in caplog.text
    assert said in prompts.manifest.warnings[0]
    with pytest.raises(SchemaError, match=r"x\.jsonl.*, line 2: not "):
        texts(path, strict=True)


@pytest.mark.parametrize("key", ["\\ud800x", "\\u001b[31mred", "\\u202eabc"])
def test_what_is_told_of_a_row_is_text_that_a_manifest_and_a_terminal_take(key: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(with_second_line(f'{{"{key}": "d"}}'.encode()))
    (warning,) = read_prompts(str(path), Source(), Execution(root=tmp_path / "runs")).manifest.warnings
    assert "x.jsonl, line 2: " in warning
    assert not HOSTILE.search(warning)


def test_a_file_is_refused_with_its_first_fault_if_more_than_half_of_it_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(GOOD + b"oops\n" * 3)
    assert texts(path) == ["a", "b", "c"]
    path.write_bytes(GOOD + b"oops\n" * 4)
    with pytest.raises(DatasetError, match=r"x\.jsonl, line 4: not JSON: .*; 4 of 7 rows are broken, so it is damaged"):
        texts(path)


def test_a_broken_file_refuses_its_folder_and_values_that_are_no_rows_do_not(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD * 10)
    (tmp_path / "b.jsonl").write_bytes(b"1\n2\n3\n")
    assert texts(tmp_path) == ["a", "b", "c"]
    (tmp_path / "b.jsonl").write_bytes(b"oops\n")
    with pytest.raises(DatasetError, match=r"b\.jsonl, line 1: not JSON"):
        texts(tmp_path)


def test_lines_in_a_json_file_are_rows_whichever_of_them_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"oops\n" + GOOD)
    assert texts(path) == ["a", "b", "c"]
    path.write_bytes(GOOD + b"oops\n")
    assert texts(path) == ["a", "b", "c"]
    path.write_bytes(b'[{"prompt": "a"},\n{"prompt": "b"}\noops]')
    with pytest.raises(DatasetError, match=r"x\.json: not JSON: Expecting ',' delimiter at line 3"):
        texts(path)


def test_bytes_that_are_no_text_leave_out_their_row_of_csv_and_parquet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "x.csv").write_bytes(b'prompt,note\na,1\n"b\n\xe9",2\nc,"\xe9"\nd,\n')
    assert texts(tmp_path / "x.csv") == ["a", "d"]
    assert "2 rows left out: 2 not UTF-8 (first: x.csv, line 3: byte 0xe9)" in caplog.text
    pq.write_table(pa.table({"prompt": pa.array([b"a", b"\xff", b"c"]).view(pa.string())}), tmp_path / "x.parquet")
    assert texts(tmp_path / "x.parquet") == ["a", "c"]
    assert "1 not UTF-8 (first: x.parquet, row 2: byte 0xff at byte 1 of a text)" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    ("name", "text"), [("x.csv", "prompt,response\na,b\n"), ("x.tsv", "prompt\na\n"), ("x.jsonl", '{"prompt": "a"}\n'), ("x.json", "[{}]")]
)
def test_a_file_of_wider_characters_is_refused_by_a_line_that_says_how_to_convert_it(encoding: str, name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    kind = encoding.upper()[:6]
    with pytest.raises(DatasetError, match=rf"{name}: {kind}, not UTF-8 .*; convert it: iconv -f {kind} -t UTF-8"):
        texts(tmp_path / name)


@pytest.mark.parametrize(("name", "mark"), [("x.csv", ";"), ("x.csv", "\t"), ("x.csv", "|"), ("x.tsv", ","), ("x.tsv", ";")])
def test_a_table_of_other_separators_is_refused_and_not_read_as_one_column(name: str, mark: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(f"prompt{mark}response\na{mark}b\n")
    with pytest.raises(DatasetError, match=r"line 1: one column, .*, so values seem to stand between .*; convert the file to CSV with commas"):
        texts(tmp_path / name)


@pytest.mark.parametrize("name", ["x.xlsx", "x.txt", "x"])
def test_a_file_of_another_kind_is_refused_with_the_kinds_to_convert_it_to(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(DatasetError, match=r"not a kind of file that can be read \(found .*\); convert it to one of \.jsonl, .*\.tsv, \.parquet"):
        texts(tmp_path / name)
