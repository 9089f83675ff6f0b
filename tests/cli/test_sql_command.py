import csv
import io
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from literal_rows import row
from made import made_dataset
from sgpo_data.cli.main import app
from sgpo_data.cli.sql import sql
from typer.testing import CliRunner

import sgpo_data
from sgpo_data.schema import schema
from sgpo_data.store.dataset import Dataset, faults

SGPO = [sys.executable, "-c", "from sgpo_data.cli.main import main; main()"]
HOSTILE = "\x1b]0;title\x07\x9b31m\u202e[bold]x[/bold]\nnext"


@pytest.fixture
def responses(tmp_path: Path) -> Dataset:
    return made_dataset(tmp_path / "r", "responses", [row("a"), row("b", response="two\nlines, 'quoted' \"too\""), row("c", response=None, finish="too_long")])


def asked(*arguments: object, stdin: str | None = None, columns: int = 80) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["sql", *map(str, arguments)], input=stdin, env={"COLUMNS": str(columns)})
    return result.exit_code, result.stdout, result.stderr


def test_table_is_for_people(responses: Dataset) -> None:
    code, out, _ = asked("SELECT finish, count(*) AS rows, sum(sampled_nll) AS nats FROM responses GROUP BY finish ORDER BY rows DESC", responses.folder)
    assert code == 0
    assert out.splitlines() == [
        "╭──────────┬──────┬──────╮",
        "│ finish   │ rows │ nats │",
        "├──────────┼──────┼──────┤",
        "│ stop     │    2 │  100 │",
        "│ too_long │    1 │   50 │",
        "╰──────────┴──────┴──────╯",
    ]


def test_wide_text_is_cut_to_the_width(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "r", "responses", [row("a", response="長い" * 500)])
    _, out, _ = asked("SELECT response, finish, policy FROM responses", dataset.folder)
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "…" in out
    assert "stop" in out
    assert "model-p" in out


def test_table_of_more_columns_than_fit_has_one_value_a_line(responses: Dataset) -> None:
    _, out, _ = asked("FROM responses LIMIT 1", responses.folder)
    assert "finish           stop" in out.splitlines()


@pytest.mark.parametrize("form", ["table", "json", "jsonl"])
def test_text_of_a_row_can_not_drive_the_terminal(form: str, tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "r", "responses", [row("a", response=HOSTILE)])
    for query in ("SELECT response FROM responses", "FROM responses"):
        _, out, _ = asked(query, dataset.folder, "--format", form)
        assert not set(out) & {"\x1b", "\x07", "\x9b", "\u202e"}
        assert "[bold]x[/bold]" in out


def test_json_lines_hold_the_rows_exactly(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "r", "responses", [row("a", response=HOSTILE)])
    _, out, _ = asked("SELECT response, messages, NULL AS nothing FROM responses", dataset.folder, "--format", "jsonl")
    assert [json.loads(line) for line in out.split("\n")[:-1]] == [
        {"response": HOSTILE, "messages": [{"role": "user", "content": "question a"}], "nothing": None}
    ]


def test_json_is_an_array_of_what_json_can_hold(responses: Dataset) -> None:
    query = "SELECT 1 AS a, 2 AS a, 'nan'::DOUBLE AS x, sum(sample) AS s, DATE '2026-01-02' AS d, MAP {'k': 1.5} AS m FROM responses"
    _, out, _ = asked(query, responses.folder, "--format", "json")
    assert json.loads(out) == [{"a": 1, "a_2": 2, "x": None, "s": 0, "d": "2026-01-02", "m": {"k": 1.5}}]


def test_json_holds_integers_of_any_size(responses: Dataset) -> None:
    _, out, _ = asked("SELECT 170141183460469231731687303715884105727 AS n, 'nan'::DOUBLE AS x", responses.folder, "--format", "jsonl")
    assert out == '{"n":170141183460469231731687303715884105727,"x":null}\n'


def test_json_of_no_rows_is_an_empty_array(responses: Dataset) -> None:
    assert asked("SELECT 1 WHERE false", responses.folder, "--format", "json")[1] == "[]\n"


def test_csv_is_read_back_as_it_was(responses: Dataset) -> None:
    _, out, _ = asked("SELECT sample, response FROM responses", responses.folder, "--format", "csv")
    assert list(csv.reader(io.StringIO(out))) == [["sample", "response"], ["0", "response a"], ["0", "two\nlines, 'quoted' \"too\""], ["0", ""]]


def test_parquet_goes_to_the_file(responses: Dataset, tmp_path: Path) -> None:
    code, out, _ = asked("SELECT response, messages FROM responses", responses.folder, "-o", tmp_path / "o.parquet")
    assert (code, out) == (0, "")
    assert pl.read_parquet(tmp_path / "o.parquet").rows()[0] == ("response a", [{"role": "user", "content": "question a"}])


def test_parquet_goes_to_a_pipe(responses: Dataset) -> None:
    done = subprocess.run([*SGPO, "sql", "SELECT sample FROM responses", responses.folder, "--format", "parquet"], capture_output=True, check=True)
    assert pl.read_parquet(done.stdout).rows() == [(0,), (0,), (0,)]


def test_failed_query_leaves_no_file(responses: Dataset, tmp_path: Path) -> None:
    code, _, _ = asked("SELECT error('no') FROM responses", responses.folder, "-o", tmp_path / "o.csv")
    assert code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r"]


def test_output_into_a_dataset_is_refused(responses: Dataset) -> None:
    code, _, told = asked("SELECT 1", responses.folder, "-o", responses.paths[0])
    assert code == 2
    assert "inside of a dataset; give another file" in told
    assert faults(responses) == []


def test_query_is_standard_input_if_only_references_are_given(responses: Dataset) -> None:
    assert asked(responses.folder, "--format", "csv", stdin="SELECT count(*) AS rows FROM responses")[1] == "rows\n3\n"


def test_no_query_at_all_is_told() -> None:
    code, _, told = asked(stdin="")
    assert (code, told) == (2, "sql: no query, and standard input is empty; give one SELECT\n")


def test_reference_is_read_from_standard_input_as_a_stage_prints_it(responses: Dataset) -> None:
    assert asked("SELECT count(*) AS rows FROM r", "r=-", "--format", "csv", stdin=f"said before\n{responses.folder}\n")[1] == "rows\n3\n"


@pytest.mark.parametrize(("name", "rows"), [("csv", "n,t\n1,a\n2,b\n"), ("jsonl", '{"n":1,"t":"a"}\n{"n":2,"t":"b"}\n')])
def test_rows_are_read_from_standard_input(name: str, rows: str, responses: Dataset) -> None:
    assert asked("SELECT sum(n) AS n, max(t) AS t FROM x", f"x=-.{name}", "--format", "csv", stdin=rows)[1] == "n,t\n3,b\n"


@pytest.mark.parametrize("arguments", [["-", "-"], ["SELECT 1", "-", "x=-.csv"]])
def test_standard_input_is_one_thing_only(arguments: list[str]) -> None:
    code, _, told = asked(*arguments, stdin="")
    assert code == 2
    assert "standard input is" in told


def test_variable_is_a_text_and_never_sql(responses: Dataset) -> None:
    hostile = "x'); DROP VIEW responses; --"
    _, out, _ = asked("SELECT getvariable('v') AS v FROM responses LIMIT 1", responses.folder, "--set", f"v={hostile}", "--format", "jsonl")
    assert json.loads(out) == {"v": hostile}
    assert asked("SELECT 1 AS n", responses.folder, "--set", "v")[0] == 2


def test_text_of_several_lines_is_shown_in_lines_if_they_fit(responses: Dataset) -> None:
    _, out, _ = asked("SELECT wrap('one two three', 7) AS text, 1 AS n", responses.folder)
    assert out.splitlines()[3:5] == ["│ one two │ 1 │", "│ three   │   │"]
    _, out, _ = asked("SELECT repeat('long ', 30) || chr(10) || 'next' AS text", responses.folder)
    assert len(out.splitlines()) == 5


def test_unsafe_opens_all_of_duckdb(responses: Dataset, tmp_path: Path) -> None:
    query = f"COPY (SELECT count(*) AS rows FROM responses) TO '{tmp_path / 'o.csv'}'; SELECT rows + 1 AS more FROM '{tmp_path / 'o.csv'}'"
    assert asked(query, responses.folder, "--unsafe", "--format", "csv")[1] == "more\n4\n"
    code, _, told = asked(query, responses.folder)
    assert code == 1
    assert "2 statements; give one SELECT" in told


def test_help_names_every_macro() -> None:
    macros = re.findall(r"CREATE MACRO (\w+\([^)]*\))", (Path(sgpo_data.__file__).parent / "query" / "macros.sql").read_text())
    told = sql.__doc__ or ""
    assert macros
    assert all(macro in told for macro in macros)


def test_query_is_read_from_standard_input(responses: Dataset) -> None:
    assert asked("-", responses.folder, "--format", "csv", stdin="SELECT count(*) AS rows\nFROM responses\n")[1] == "rows\n3\n"


def test_limit_counts_rows(responses: Dataset) -> None:
    assert asked("SELECT response FROM responses", responses.folder, "--format", "csv", "--limit", 1)[1] == "response\nresponse a\n"


def test_table_says_that_there_are_more_rows(responses: Dataset) -> None:
    _, out, told = asked("SELECT range AS value FROM range(51)", responses.folder)
    assert len(out.splitlines()) == 54
    assert told == "the first 50 rows; --limit 0 shows all\n"
    assert len(asked("SELECT range AS value FROM range(51)", responses.folder, "--limit", 0)[1].splitlines()) == 55


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("FROM response", "sql: there is no table response; there are columns, guards, manifests, responses; give the dataset that holds it as a REF"),
        ("SELEC 1", 'sql: Parser Error: syntax error at or near "SELEC"'),
        ("SELECT error('at run time') FROM responses", "sql: Invalid Input Error: at run time"),
        ("DROP VIEW responses", "sql: DROP is not possible, sql only reads; give one SELECT"),
        ("SELECT 1; SELECT 2", "sql: 2 statements; give one SELECT"),
        ("PIVOT responses ON finish", "sql: PIVOT has to name its columns here"),
        ("FROM read_text('/etc/passwd')", "sql only reads the tables it was given"),
    ],
)
def test_mistake_in_a_query_is_one_line_and_its_place(query: str, told: str, responses: Dataset) -> None:
    code, out, said = asked(query, responses.folder)
    assert (code, out) == (1, "")
    line, *place = said.splitlines()
    assert told in line
    assert [each.strip("^ ") for each in place] in ([], [query.strip(), ""])


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT finsh FROM responses", 'sql: Binder Error: Referenced column "finsh" not found in FROM clause; did you mean finish?'),
        ("SELECT r.finsh FROM responses AS r", 'sql: Binder Error: Values list "r" does not have a column named "finsh"; did you mean finish?'),
        ("SELECT zzz FROM responses", 'sql: Binder Error: Referenced column "zzz" not found in FROM clause'),
        ("WITH r AS (SELECT sample AS s FROM responses) SELECT finsh FROM r", 'sql: Binder Error: Referenced column "finsh" not found in FROM clause'),
        ("FROM responses JOIN responses AS r USING (sampl)", 'sql: Binder Error: Column "sampl" does not exist on left side of join; did you mean sample?'),
        ("SELECT * EXCLUDE (finsh) FROM responses", 'sql: Binder Error: Column "finsh" in EXCLUDE list not found in FROM clause; did you mean finish?'),
    ],
)
@pytest.mark.parametrize("how", [(), ("--unsafe",)])
def test_of_a_column_that_is_not_there_the_one_that_was_meant_and_all_are_told(query: str, told: str, how: tuple[str, ...], responses: Dataset) -> None:
    code, out, said = asked(query, responses.folder, *how)
    assert (code, out) == (1, "")
    first, *_, last = said.splitlines()
    assert first == told
    assert last == f"  responses has {', '.join(schema('responses').column_names)}"


@pytest.mark.parametrize(
    ("query", "marked"),
    [
        ("SELECT finsh FROM responses", "finsh"),
        ("SELECT\n  prompt_id,\n  finsh\nFROM responses", "finsh"),
        (f"SELECT {'prompt_id, ' * 30} finsh FROM responses", "finsh"),
        ("FROM response", "response"),
        ("SELEC 1", "SELEC"),
        ("SELECT finish::INT FROM responses", "::INT"),
    ],
)
def test_the_place_of_a_mistake_stands_over_a_caret(query: str, marked: str, responses: Dataset) -> None:
    _, line, caret, *_ = asked(query, responses.folder)[2].splitlines()
    assert "".join(letter for letter, mark in zip(line, caret, strict=False) if mark == "^") == marked


def test_closed_pipe_is_no_error(responses: Dataset) -> None:
    query = "SELECT range FROM range(10000000)"
    with subprocess.Popen([*SGPO, "sql", query, responses.folder, "--format", "csv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.readline() == b"range\n"
        command.stdout.close()
        assert command.stderr.read() == b""
    assert command.returncode == 0


def test_a_file_is_whole_and_its_ending_names_the_format(responses: Dataset, tmp_path: Path) -> None:
    query = "SELECT range AS n FROM range(200)"
    code, _, line = asked(query, responses.folder, "-o", tmp_path / "kept.txt")
    assert (code, "its ending names no format" in line, (tmp_path / "kept.txt").exists()) == (2, True, False)
    assert asked(query, responses.folder, "-o", tmp_path / "kept.txt", "--format", "table")[0] == 0
    assert len((tmp_path / "kept.txt").read_text().splitlines()) == 204


def test_a_name_that_no_view_can_have_is_told(responses: Dataset) -> None:
    code, _, line = asked("SELECT 1 AS one", f"a-b={responses.folder}")
    assert code == 2
    assert "a-b cannot name a view" in line


def test_interrupt_stops_a_query_that_would_not_end(responses: Dataset) -> None:
    query = "SELECT 1 AS first UNION ALL SELECT count(*) FROM range(100000000) a, range(1000000) b WHERE a.range + b.range = -5"
    store = responses.folder.rename(responses.folder.parent / "store@1")
    (store.parent / "store").mkdir()
    store.rename(store.parent / "store" / "responses@1")
    with subprocess.Popen([*SGPO, "sql", query, "--root", store.parent], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as command:
        assert command.stderr is not None
        assert command.stderr.readline().startswith("views of ")
        command.send_signal(signal.SIGINT)
        assert "Traceback" not in command.stderr.read()
    assert command.returncode == 130
