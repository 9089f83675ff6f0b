import contextlib
import gc
import gzip
import json
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest
from literal_rows import row
from made import made_dataset

import sgpo_data
from sgpo_data.errors import DatasetError, QueryError, UsageError
from sgpo_data.query.catalog import catalog
from sgpo_data.query.sandbox import open_connection, selected
from sgpo_data.query.select_only import refuse_all_but_reading
from sgpo_data.schema import schema, tables
from sgpo_data.store.dataset import Dataset, faults
from sgpo_data.store.guard import GuardRecord, write_guard_record


@pytest.fixture
def scored(tmp_path: Path) -> Dataset:
    return made_dataset(
        tmp_path / "a", "scored", [row("a"), row("b", improved_nll=200.0), row("c", improved=None, improved_finish="no_response", improver_prompt=None)]
    )


def run_of(root: Path, links: dict[str, Dataset]) -> None:
    for place, dataset in links.items():
        (root / "loop" / place).parent.mkdir(parents=True, exist_ok=True)
        (root / "loop" / place).symlink_to(dataset.folder)


def test_scan_gives_the_rows_in_their_order(scored: Dataset) -> None:
    assert sgpo_data.scan(scored.folder).select("response").collect().to_series().to_list() == ["response a", "response b", "response c"]


def test_scan_finds_a_folder_of_the_root(scored: Dataset) -> None:
    assert sgpo_data.scan("a", root=scored.folder.parent).collect().height == 3


def test_sql_keeps_the_order_of_the_rows_over_parts(scored: Dataset) -> None:
    assert len(scored.paths) == 2
    assert sgpo_data.sql("SELECT response FROM scored", scored.folder).fetchall() == [("response a",), ("response b",), ("response c",)]


def test_relation_outlives_the_call_that_made_it(scored: Dataset) -> None:
    relation = sgpo_data.sql("SELECT improved_nll / improved_tokens AS nats FROM scored ORDER BY nats", scored.folder)
    gc.collect()
    assert relation.pl().equals(pl.DataFrame({"nats": [1.0, 1.0, 2.0]}))
    assert relation.filter("nats > 1").fetchall() == [(2.0,)]


def test_relation_left_open_when_python_exits_makes_no_noise(scored: Dataset) -> None:
    script = f"import sgpo_data; relation = sgpo_data.sql('SELECT count(*) FROM scored', {str(scored.folder)!r}); print(relation.fetchall())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[(3,)]\n", "")


def imported_by(script: str, *names: str) -> list[str]:
    told = f"{script}; import sys; print(*(name for name in {names} if name in sys.modules))"
    return subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.split()


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert imported_by("import sgpo_data", "torch", "transformers", "datasets", "duckdb", "polars", "pyarrow", "pydantic") == []


def test_sql_imports_no_model_library(scored: Dataset) -> None:
    assert imported_by(f"import sgpo_data; sgpo_data.sql('SELECT 1', {str(scored.folder)!r})", "torch", "transformers", "datasets") == []


@pytest.mark.parametrize("table", tables())
def test_every_table_can_be_asked_even_without_rows(table: str, tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "empty", table, [])
    relation = sgpo_data.sql(f"FROM {table}", dataset.folder)
    assert tuple(relation.columns) == schema(table).column_names
    assert relation.fetchall() == []


def test_rows_have_the_types_of_the_schema(scored: Dataset) -> None:
    described = sgpo_data.sql("SELECT column_name, column_type FROM (DESCRIBE scored)", scored.folder).fetchall()
    assert described == [(column.name, column.sql_type) for column in schema("scored").columns]


def test_conversations_are_read_as_lists_of_turns(scored: Dataset) -> None:
    query = "SELECT messages[1].content FROM scored WHERE messages[1].role = 'user' AND sample = 0 AND improved_nll > 150"
    assert sgpo_data.sql(query, scored.folder).fetchall() == [("question b",)]


def test_reference_can_name_its_view(scored: Dataset) -> None:
    assert sgpo_data.sql("SELECT count(*) FROM before JOIN after USING (prompt_id)", f"before={scored.folder}", f"after={scored.folder}").fetchall() == [(3,)]


def test_folder_whose_name_looks_like_a_named_reference_is_a_folder(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "k=3", "prompts", [row("a")])
    assert sgpo_data.sql("SELECT count(*) FROM prompts", "k=3", root=tmp_path).fetchall() == [(1,)]
    assert dataset.manifest.rows == 1


def test_two_datasets_of_one_table_are_refused_with_a_way_to_name_them(scored: Dataset) -> None:
    with pytest.raises(UsageError, match=r"scored: both .*/a and .*/a would be this view; name the second one: scored_2=.*/a"):
        sgpo_data.sql("SELECT 1", scored.folder, scored.folder)


def test_name_of_a_built_in_table_is_refused(scored: Dataset) -> None:
    with pytest.raises(UsageError, match="every query has a table columns of its own"):
        sgpo_data.sql("SELECT 1", f"columns={scored.folder}")


def test_missing_reference_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere: no such dataset"):
        sgpo_data.sql("SELECT 1", "nowhere", root=tmp_path)


def test_run_gives_each_table_over_all_rounds_and_each_round_alone(tmp_path: Path) -> None:
    first = made_dataset(tmp_path / "store" / "scored@1", "scored", [row("a"), row("b")])
    second = made_dataset(tmp_path / "store" / "scored@2", "scored", [row("c")])
    run_of(tmp_path, {"policy-1/scored": first, "policy-10/scored": second})
    counts = "SELECT phase, round, count(*) FROM scored GROUP BY ALL ORDER BY ALL"
    assert sgpo_data.sql(counts, run="loop", root=tmp_path).fetchall() == [("policy", 1, 2), ("policy", 10, 1)]
    assert sgpo_data.sql("SELECT response FROM policy_10_scored", run="loop", root=tmp_path).fetchall() == [("response c",)]
    assert sgpo_data.sql("FROM scored", run="loop", root=tmp_path).columns[:4] == ["run", "phase", "round", "prompt_id"]


def test_run_of_one_round_answers_the_same_query(tmp_path: Path) -> None:
    run_of(tmp_path, {"warm up-1/prompts": made_dataset(tmp_path / "store" / "p", "prompts", [row("a")])})
    assert sgpo_data.sql("SELECT phase, round, count FROM prompts", run="loop", root=tmp_path).fetchall() == [("warm up", 1, 1)]
    assert sgpo_data.sql("SELECT count FROM warm_up_1_prompts", run="loop", root=tmp_path).fetchall() == [(1,)]


def test_what_a_round_names_by_its_role_is_a_view_of_its_own(tmp_path: Path) -> None:
    verdicts = made_dataset(tmp_path / "store" / "e@1", "evaluations", [row("a"), row("b")])
    own = {f"policy-{number}/verdicts": verdicts for number in (1, 2)}
    own["policy-1/evaluations"] = made_dataset(tmp_path / "store" / "e@2", "evaluations", [{**row("a"), "verdict": "tie", "first_score": 0.5}])
    own["policy-1/answers"] = made_dataset(tmp_path / "store" / "r@1", "responses", [row("a")])
    own["policy-1/responses"] = made_dataset(tmp_path / "store" / "r@2", "responses", [row("b"), row("c")])
    run_of(tmp_path, own)
    by_round = sgpo_data.sql("SELECT phase, round, verdict, count(*) FROM verdicts GROUP BY ALL ORDER BY ALL", run="loop", root=tmp_path)
    assert by_round.fetchall() == [("policy", 1, "first", 2), ("policy", 2, "first", 2)]
    assert sgpo_data.sql("SELECT verdict FROM evaluations", run="loop", root=tmp_path).fetchall() == [("tie",)]
    assert sgpo_data.sql("SELECT count(*) FROM policy_2_verdicts", run="loop", root=tmp_path).fetchall() == [(2,)]
    asked = "SELECT (SELECT count(*) FROM answers), (SELECT count(*) FROM responses)"
    assert sgpo_data.sql(asked, run="loop", root=tmp_path).fetchall() == [(1, 2)]
    meaning = "SELECT comment FROM columns WHERE view = 'verdicts' AND \"column\" = 'judge'"
    assert sgpo_data.sql(meaning, run="loop", root=tmp_path).fetchall() == [("Identity of the model that judged, or person:<name>.",)]
    with pytest.raises(UsageError, match=r"verdicts: both the runs and .* would be this view; name the second one: verdicts_2="):
        catalog([f"verdicts={verdicts.folder}"], runs=["loop"], root=tmp_path)


def test_run_leaves_out_what_is_not_finished(tmp_path: Path) -> None:
    run_of(tmp_path, {"policy-1/prompts": made_dataset(tmp_path / "store" / "p", "prompts", [row("a")])})
    (tmp_path / "loop" / "policy-1" / "responses").symlink_to("nowhere")
    (tmp_path / "loop" / "policy-1" / "scored" / ".unfinished").mkdir(parents=True)
    assert [seen.view for seen in catalog([], runs=["loop"], root=tmp_path).visible] == ["policy_1_prompts"]


def test_missing_run_is_told_with_those_there_are(tmp_path: Path) -> None:
    run_of(tmp_path, {"policy-1/prompts": made_dataset(tmp_path / "store" / "p", "prompts", [row("a")])})
    with pytest.raises(DatasetError, match=r"lop: no such run in .*; there are loop"):
        catalog([], runs=["lop"], root=tmp_path)


def test_store_shows_the_newest_dataset_of_each_table(tmp_path: Path) -> None:
    made_dataset(tmp_path / "store" / "prompts@b", "prompts", [row("old")])
    made_dataset(tmp_path / "store" / "prompts@a", "prompts", [row("new")])
    made_dataset(tmp_path / "store" / "scored@c", "scored", [row("s")])
    assert sgpo_data.sql("SELECT reference FROM prompts", root=tmp_path).fetchall() == [("reference new",)]
    assert sgpo_data.sql("SELECT view FROM manifests ORDER BY view", root=tmp_path).fetchall() == [("prompts",), ("scored",)]


def test_manifests_has_a_row_for_each_dataset(scored: Dataset) -> None:
    query = 'SELECT view, "table", fingerprint, stage, rows_in, rows, models FROM manifests'
    expected = ("s", "scored", scored.manifest.fingerprint, "test-scored", 3, 3, "policy=folder:abc")
    assert sgpo_data.sql(query, f"s={scored.folder}").fetchall() == [expected]


def test_columns_tells_what_a_column_means(scored: Dataset) -> None:
    query = "SELECT type, comment FROM columns WHERE view = 's' AND \"column\" = 'edited_words'"
    assert sgpo_data.sql(query, f"s={scored.folder}").fetchall() == [("INTEGER", "Levenshtein distance in words from response to improved.")]


SECRET = "the caller's own variable"

ATTACKS = [
    "COPY scored TO '{outside}'",
    "COPY (SELECT 1) TO '{part}' (USE_TMP_FILE false)",
    "COPY (SELECT 1) TO '{folder}/part-00009.parquet'",
    "WITH x AS (COPY (SELECT 1) TO '{part}' (USE_TMP_FILE false)) SELECT 1",
    "WITH x AS (COPY (SELECT 1) TO '{outside}') SELECT 1",
    "FROM query('WITH x AS (COPY (SELECT 1) TO ''{part}'' (USE_TMP_FILE false)) SELECT 1')",
    "FROM json_execute_serialized_sql('{serialized}')",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{part}' (USE_TMP_FILE false)",
    "WITH x AS (INSERT INTO manifests SELECT * FROM manifests RETURNING *) FROM x",
    "WITH x AS (DELETE FROM columns RETURNING *) FROM x",
    "ATTACH '{outside}' AS other",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "PRAGMA enable_profiling",
    "CALL enable_logging()",
    "FROM enable_logging()",
    "FROM read_csv('/etc/passwd')",
    "FROM read_text('{part}')",
    "FROM '{part}'",
    "FROM parquet_metadata('{part}')",
    "FROM glob('/*')",
    "FROM read_parquet('http://127.0.0.1:9/x.parquet')",
    "FROM duckdb_secrets()",
    "SELECT getenv('HOME')",
    "FROM SECRET",
    "WITH x AS (COPY (SELECT 1) TO '{spill}') SELECT 1",
    "WITH x AS (COPY (SELECT 1) TO '{spill}/x.csv') SELECT 1",
    "WITH x AS (COPY (SELECT 1) TO '{inside}' (USE_TMP_FILE false)) SELECT 1",
    "SELECT * FROM (WITH x AS (COPY (SELECT 1) TO '{inside}' (USE_TMP_FILE false)) SELECT 1)",
    "SELECT (WITH x AS (COPY (SELECT 1) TO '{inside}' (USE_TMP_FILE false)) SELECT 1)",
    "WITH x AS (UPDATE manifests SET rows = 0 RETURNING *) FROM x",
    "FROM query_table(['scored'])",
    "FROM read_json('{part}')",
    "FROM read_blob('/etc/passwd')",
    "FROM sniff_csv('/etc/passwd')",
    "FROM read_duckdb('{outside}')",
    "FROM '/etc/passwd'",
    "FROM 'https://127.0.0.1:9/x.csv'",
    "FROM '{inside}'",
    "FROM read_parquet('{inside}')",
    "FROM duckdb_extensions()",
    "FROM create_external_resource('x')",
    "SELECT 1; COPY scored TO '{outside}'",
    "RESET lock_configuration",
    "USE scored",
    "SELECT 1; DROP VIEW scored",
    "DROP VIEW scored",
    "CREATE TABLE t AS SELECT 1",
    "CREATE MACRO m() AS 1",
    "INSERT INTO scored SELECT * FROM scored",
    "EXPORT DATABASE '{outside}'",
    "IMPORT DATABASE '{outside}'",
    "CHECKPOINT",
    "PREPARE p AS SELECT 1",
    "EXPLAIN SELECT 1",
    "",
]


def aimed(attack: str, con: duckdb.DuckDBPyConnection, scored: Dataset, outside: Path) -> str:
    """The attack with the places it is aimed at."""
    writing = f"WITH x AS (COPY (SELECT 1) TO '{scored.paths[0]}' (USE_TMP_FILE false)) SELECT 1"
    ((serialized, spill),) = con.execute("SELECT json_serialize_sql(?::VARCHAR), current_setting('temp_directory')", [writing]).fetchall()
    return attack.format(
        outside=outside,
        folder=scored.folder,
        part=scored.paths[0],
        inside="sgpo://scored/part-00000.parquet",
        spill=spill,
        serialized=json.dumps(json.loads(serialized)).replace("'", "''"),
    )


@pytest.mark.parametrize("attack", ATTACKS)
def test_query_can_do_nothing_but_read_its_tables(attack: str, scored: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    con = catalog([str(scored.folder)], root=tmp_path).connect()
    with pytest.raises((QueryError, duckdb.Error)):
        selected(con, aimed(attack, con, scored, tmp_path / "outside")).fetchall()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "manifest.json", "part-00000.parquet", "part-00001.parquet"]
    assert faults(scored) == []
    assert con.execute("SELECT count(*) FROM scored").fetchall() == [(3,)]
    con.close()


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if "COPY" in attack or "EXPORT" in attack])
def test_parts_stay_as_they_are_even_if_a_write_is_run_unread(attack: str, scored: Dataset, tmp_path: Path) -> None:
    con = catalog([str(scored.folder)], root=tmp_path).connect()
    with contextlib.suppress(duckdb.Error):
        con.execute(aimed(attack, con, scored, tmp_path / "outside")).fetchall()
    con.close()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "manifest.json", "part-00000.parquet", "part-00001.parquet"]
    assert faults(scored) == []


WRITES = [attack for attack in ATTACKS if attack.startswith(("WITH", "FROM read", "FROM query", "FROM json_execute", "FROM '/", "SELECT *", "SELECT (WITH"))]


@pytest.mark.parametrize("attack", WRITES)
def test_what_does_more_than_read_is_refused_even_where_all_is_open(attack: str, scored: Dataset, tmp_path: Path) -> None:
    con = open_connection(catalog([str(scored.folder)], root=tmp_path).tables)
    with pytest.raises(QueryError, match="sql"):
        refuse_all_but_reading(con, aimed(attack, con, scored, tmp_path / "outside"))
    con.close()


READS = [
    "FROM scored",
    "WITH s AS (FROM scored) FROM s",
    "WITH s AS MATERIALIZED (SELECT 1 AS n) FROM s",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) FROM r",
    "DESCRIBE scored",
    "SUMMARIZE scored",
    "SHOW TABLES",
    "VALUES (1)",
    "FROM (PIVOT scored ON finish IN ('stop') USING count(*))",
    "FROM (UNPIVOT (SELECT response_words, improved_words FROM scored) ON response_words, improved_words)",
    "SELECT DISTINCT finish FROM scored ORDER BY finish DESC LIMIT 1 OFFSET 0",
    "SELECT sample FROM scored LIMIT 50 %",
    "SELECT sample FROM scored UNION ALL SELECT 1 EXCEPT SELECT 2",
    "FROM scored TABLESAMPLE 100 PERCENT (bernoulli)",
    "SELECT a.sample FROM scored AS a POSITIONAL JOIN scored AS b",
    "SELECT t.turn.content FROM scored, LATERAL (SELECT unnest(messages) AS turn) AS t",
    "SELECT (SELECT max(sample) FROM scored), EXISTS (FROM scored), 0 IN (SELECT sample FROM scored)",
    "SELECT COLUMNS('.*_words') FROM scored",
    "SELECT list_transform([1, 2], lambda x: x + 1), [y FOR y IN [1]], {'a': 1}, MAP {'b': 2}, CASE WHEN true THEN 1 END",
    "SELECT row_number() OVER (PARTITION BY finish ORDER BY sample ROWS UNBOUNDED PRECEDING) AS place FROM scored QUALIFY place = 1",
    "SELECT finish, count(*) FROM scored GROUP BY ROLLUP (finish) HAVING count(*) > 0",
    "FROM range(3) WITH ORDINALITY",
    "SELECT function_name FROM duckdb_functions() WHERE NOT internal",
    "SELECT table_name FROM information_schema.tables",
    'SELECT "role", bar(sample, 0, 1, 3) FROM scored; ',
]


@pytest.mark.parametrize("query", READS)
def test_every_way_to_read_is_allowed(query: str, scored: Dataset) -> None:
    assert sgpo_data.sql(query, scored.folder).fetchall()


def test_what_does_not_fit_in_memory_leaves_nothing_behind(scored: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    con = catalog([str(scored.folder)], root=tmp_path).connect()
    assert con.execute("SELECT current_setting('temp_directory')").fetchall()[0][0].startswith(f"{tmp_path}/sgpo-")
    con.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_several_runs_are_one_table_with_the_name_of_the_run(tmp_path: Path) -> None:
    for run, name in (("one", "a"), ("two", "b")):
        dataset = made_dataset(tmp_path / "store" / f"scored@{run}", "scored", [row(name)])
        (tmp_path / run / "policy-1").mkdir(parents=True)
        (tmp_path / run / "policy-1" / "scored").symlink_to(dataset.folder)
    asked = sgpo_data.sql("SELECT run, phase, round, response FROM scored ORDER BY run", run=["one", "two"], root=tmp_path)
    assert asked.fetchall() == [("one", "policy", 1, "response a"), ("two", "policy", 1, "response b")]
    assert sgpo_data.sql("SELECT response FROM two_policy_1_scored", run=["one", "two"], root=tmp_path).fetchall() == [("response b",)]
    assert sgpo_data.sql("SELECT run, view FROM manifests", run=["two"], root=tmp_path).fetchall() == [("two", "policy_1_scored")]


def test_guards_has_a_row_for_each_training_that_a_run_measured(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "store" / "scored@a", "scored", [row("a")])
    for number, fall in ((1, -0.2), (2, None)):
        folder = tmp_path / "one" / f"policy-{number}"
        folder.mkdir(parents=True)
        (folder / "scored").symlink_to(dataset.folder)
        write_guard_record(folder, GuardRecord(fingerprint="f", pair_gap=0.1 * number, reference_change=fall))
    asked = "SELECT run, phase, round, pair_gap, reference_fall, win_rate FROM guards ORDER BY round"
    assert sgpo_data.sql(asked, run=["one"], root=tmp_path).fetchall() == [("one", "policy", 1, 0.1, 0.2, None), ("one", "policy", 2, 0.2, None, None)]
    assert sgpo_data.sql("SELECT count(*) FROM guards", "scored", root=tmp_path / "one" / "policy-1").fetchall() == [(0,)]
    told = sgpo_data.sql("SELECT type, comment FROM columns WHERE view = 'guards' AND \"column\" = 'win_rate'", run=["one"], root=tmp_path).fetchall()
    assert told[0][0] == "DOUBLE"


FILES = {"a.csv": "name,size\nx,1\ny,2\n", "a.tsv": "name\tsize\nx\t1\ny\t2\n", "a.jsonl": '{"name":"x","size":1}\n{"name":"y","size":2}\n'}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("packed", [False, True])
def test_text_file_is_a_view_by_its_name(name: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(FILES[name].encode()) if packed else FILES[name].encode())
    assert sgpo_data.sql("SELECT name, size FROM a ORDER BY size", path, root=tmp_path).fetchall() == [("x", 1), ("y", 2)]


def test_parquet_file_is_joined_with_a_dataset(scored: Dataset, tmp_path: Path) -> None:
    pl.DataFrame({"response": ["response a"], "grade": [0.5]}).write_parquet(tmp_path / "[grades].parquet")
    asked = sgpo_data.sql("SELECT sample, grade FROM scored JOIN grades USING (response)", scored.folder, f"grades={tmp_path / '[grades].parquet'}")
    assert asked.fetchall() == [(0, 0.5)]


def test_file_whose_name_is_a_pattern_is_that_file_alone(tmp_path: Path) -> None:
    (tmp_path / "a[12].csv").write_text("n\n1\n")
    (tmp_path / "a1.csv").write_text("n\n2\n")
    assert sgpo_data.sql("FROM x", f"x={tmp_path / 'a[12].csv'}", root=tmp_path).fetchall() == [(1,)]


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl"])
def test_broken_file_is_told_with_its_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PAR1 {not at all")
    with pytest.raises(DatasetError, match=rf"{name}: cannot be read"):
        sgpo_data.sql("FROM x", tmp_path / name, root=tmp_path)


def test_file_in_a_query_is_told_how_to_give_it(scored: Dataset) -> None:
    with pytest.raises(QueryError, match=r"x\.csv: is no table; a file is given behind the query, and is a view then: name=x\.csv"):
        sgpo_data.sql("FROM 'x.csv'", scored.folder)


def test_many_parts_read_by_several_threads_give_every_byte(tmp_path: Path) -> None:
    rows = [row(f"p{number}", response=f"{number} " * 50) for number in range(100)]
    dataset = made_dataset(tmp_path / "d", "responses", rows, part_rows=7)
    con = catalog([str(dataset.folder)], root=tmp_path).connect()
    assert con.execute("SELECT count(*), sum(length(response)), count(DISTINCT md5(response)) FROM responses").fetchall() == [
        (100, sum(len(str(each["response"])) for each in rows), 100)
    ]
    con.close()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("perplexity(2 * ln(3), 2)", 3.0),
        ("perplexity(1.0, 0)", None),
        ("last_turn([{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'b'}])", "b"),
        ('last_turn(NULL::STRUCT("role" VARCHAR, content VARCHAR)[])', None),
        ("edit_share(3, 10, 6)", 0.3),
        ("edit_share(0, 0, 0)", None),
        ("wrap('one two three', 7)", "one two\nthree"),
        ("wrap('abcdefghij kl', 4)", "abcd\nefgh\nij\nkl"),
        ("wrap('a b\n\nc', 20)", "a b\n\nc"),
        ("wrap('長い言葉', 2)", "長い\n言葉"),
        ("wrap(NULL, 5)", None),
    ],
)
def test_macro_gives(expression: str, value: object, scored: Dataset) -> None:
    ((found,),) = sgpo_data.sql(f"SELECT {expression}", scored.folder).fetchall()
    assert found == (pytest.approx(value) if isinstance(value, float) else value)


def test_share_is_that_of_all_rows_asked(scored: Dataset) -> None:
    assert sgpo_data.sql("SELECT share(improved_nll > 150) FROM scored", scored.folder).fetchall() == [(pytest.approx(1 / 3),)]
