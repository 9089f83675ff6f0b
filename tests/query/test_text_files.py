"""sgpo sql over CSV and JSON files gives what is in them."""

import gzip
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sgpo_data.cli.printing.formats import write_csv, write_jsonl

import sgpo_data
from sgpo_data.errors import DatasetError

HOSTILE = st.text(st.sampled_from(list("a0,;|\t\"'\\\r\n #-.eé\u2028\x00\ufeff{}[]")), max_size=6) | st.sampled_from(
    ["NULL", "007", "1.50", "true", "2024-01-02", "nan"]
)
CELL = st.none() | HOSTILE


def rows_of(path: Path) -> list[tuple[object, ...]]:
    return sgpo_data.sql("FROM x", f"x={path}", root=path.parent).fetchall()


def written(text: str, path: Path) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("columns", [1, 2])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_sql_writes_is_read_back_equal(ending: str, columns: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.tuples(*[CELL] * columns), min_size=1, max_size=5))
    names = [f"c{place}" for place in range(columns)]
    batch = pa.record_batch([pa.array(column, pa.string()) for column in zip(*rows, strict=True)], names=names)
    out = io.BytesIO()
    (write_csv if ending == "csv" else write_jsonl)(iter([batch]), names, out)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{ending}"
        path.write_bytes(out.getvalue())
        query = f"SELECT {', '.join(f'{name}::VARCHAR' for name in names)} FROM x"
        assert sgpo_data.sql(query, f"x={path}", root=Path(folder)).fetchall() == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("n\n1\n2\n", [(1,), (2,)]),
        ("n\n1\n2.5\n", [(1.0,), (2.5,)]),
        ("n\n007\n8\n", [("007",), ("8",)]),
        ("n\n1.50\n", [("1.50",)]),
        ("n\n9007199254740993\n1.5\n", [("9007199254740993",), ("1.5",)]),
        ("n\n123456789012345678901234567890\n", [("123456789012345678901234567890",)]),
        ("n\n2024-01-02\n", [("2024-01-02",)]),
        ("n\ntrue\nfalse\n", [(True,), (False,)]),
        ('a,b\n,""\n', [(None, "")]),
        ("a;b\nx,y;2\n", [("x,y", 2)]),
        ("\ufeffa,A\r\n1,2\r\n", [(1, 2)]),
    ],
)
def test_csv_column_has_a_type_only_if_it_keeps_every_value(text: str, rows: list[tuple[object, ...]], tmp_path: Path) -> None:
    assert rows_of(written(text, tmp_path / "x.csv")) == rows
    assert rows_of(written(text, tmp_path / "x.csv.gz")) == rows


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["null", '"a"'], [None, "a"]),
        (["1", "1.5"], [1.0, 1.5]),
        (["1.5", "9007199254740993"], ["1.5", "9007199254740993"]),
        (['"2024-01-02"', '"tomorrow"'], ["2024-01-02", "tomorrow"]),
        (['"2024-01-02"', "null"], ["2024-01-02", None]),
        (['"C7B1B5F0-7F4B-4C0B-8F6A-0123456789AB"', '""'], ["C7B1B5F0-7F4B-4C0B-8F6A-0123456789AB", ""]),
        (['["2024-01-02"]', '["12:00:00"]'], [["2024-01-02"], ["12:00:00"]]),
    ],
)
def test_json_values_are_those_of_the_file(values: list[str], expected: list[object], tmp_path: Path) -> None:
    records = [f'{{"x": {value}}}' for value in values]
    for name, text in (("x.jsonl", "\n".join(records)), ("x.jsonl.gz", "\n".join(records)), ("y.json", f"[{','.join(records)}]")):
        assert [value for (value,) in rows_of(written(text, tmp_path / name))] == expected


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_value_after_many_of_another_kind_is_not_lost(ending: str, tmp_path: Path) -> None:
    values = ["1"] * 25000 + ['he said "3", and\nleft', "1.5"]
    text = (
        "\n".join(json.dumps({"x": value}) for value in values)
        if ending == "jsonl"
        else "x\n" + "\n".join(f'"{value.replace(chr(34), chr(34) * 2)}"' for value in values)
    )
    assert [value for (value,) in rows_of(written(text, tmp_path / f"x.{ending}"))] == values


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_row_of_forty_megabytes_is_read(ending: str, tmp_path: Path) -> None:
    long = "word " * 8_000_000
    path = written(f'x\na\n"{long}"\n' if ending == "csv" else f'{{"x":"a"}}\n{{"x":"{long}"}}\n', tmp_path / f"x.{ending}")
    assert sgpo_data.sql("SELECT length(x) FROM x", f"x={path}", root=tmp_path).fetchall() == [(1,), (len(long),)]


@pytest.mark.parametrize("number", ["9007199254740993", "-12345678901234567890", "1e400"])
@pytest.mark.parametrize("around", ["[{}]", '{{"a": [{}], "b": "c"}}'])
def test_a_number_inside_a_value_is_not_rounded(number: str, around: str, tmp_path: Path) -> None:
    lines = [around.format(each) for each in ("1.5", number)]
    path = written("".join(f'{{"v": {line}}}\n' for line in lines), tmp_path / "x.jsonl")
    assert [json.loads(str(value), parse_float=str) for (value,) in rows_of(path)] == [json.loads(line, parse_float=str) for line in lines]
    short = written('{"v": [1.5, 7]}\n', tmp_path / "short.jsonl")
    assert rows_of(short) == [([1.5, 7.0],)]


@pytest.mark.parametrize("text", ['{"x": 1, "X": 2}\n', '{"x": 1}\n{"X": 2}\n', '{"x": 1, "X": 2, "X_1": 3}\n'])
def test_keys_that_differ_in_capitals_alone_are_refused_and_not_lost(text: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"keys of JSON that differ in capitals alone are one column in SQL \(it has X, .*x\); rename one"):
        rows_of(written(text, tmp_path / "x.jsonl"))
    assert rows_of(written('{"x": 1, "x_1": 2}\n', tmp_path / "y.jsonl")) == [(1, 2)]


def test_csv_row_with_a_cell_too_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"Expected 2 columns, got 3"):
        rows_of(written("a,b\n1,2\n1,2,3\n", tmp_path / "x.csv"))


def test_an_empty_line_is_a_row_only_where_there_is_one_column(tmp_path: Path) -> None:
    assert rows_of(written('a,b\n1,"x\n\ny"\n\n2,z\n\n', tmp_path / "x.csv")) == [(1, "x\n\ny"), (2, "z")]
    assert rows_of(written("a\n1\n\n2\n", tmp_path / "x.csv")) == [(1,), (None,), (2,)]


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet"])
def test_a_pointer_of_git_lfs_is_called_that(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"{name}: a Git LFS pointer, not the file itself; run git lfs pull in {tmp_path}"):
        rows_of(written("version https://git-lfs.github.com/spec/v1\noid sha256:x\nsize 1\n", tmp_path / name))
