"""Claims about a recipe's own rules: what one may say, what it decides, and that it can do nothing else."""

from pathlib import Path

import duckdb
import pytest
from literal_rows import checked, connect, row, rules
from made import made_dataset
from pydantic import ValidationError
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.errors import RecipeError
from sgpo_data.recipe.file import parsed
from sgpo_data.running.deciding import deciding
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.store.dataset import open_dataset


def stage(**own: str) -> Filter:
    return Filter.model_validate({"rules": own, "ppl": {"strategy": "none"}})


def failed(given: Filter, *given_rows: dict[str, object]) -> list[list[str]]:
    return [rules(each) for each in checked(given.table(connect("scored", given_rows), "scored"), "filtered")]


@pytest.mark.parametrize(
    "predicate",
    [
        "improved_words < 400",
        "improved_words < 400 -- shorter than a page",
        "source = 'train.jsonl' AND NOT regexp_matches(improved, '(?i)as an ai')",
        "len(list_filter(messages, lambda m: m.role = 'user')) = 1",
        "messages[1].content != response",
        "exp(improved_nll / improved_tokens) BETWEEN 1 AND 20",
        "TRY(response::INTEGER) IS NULL",
        "CASE WHEN role = 'refine' THEN reference IS NOT NULL ELSE true END",
        "source IN ('train.jsonl', 'b') OR list_contains(['c'], source)",
        "IMPROVED_WORDS < 400",
    ],
)
def test_a_rule_is_any_claim_about_one_row(predicate: str) -> None:
    assert failed(stage(mine=predicate), row()) == [[]]
    assert failed(stage(mine=f"NOT (\n{predicate}\n)"), row()) == [["mine"]]


def test_a_row_is_kept_if_the_rule_is_true_or_null() -> None:
    given = stage(short="improved_words < 101", scored="response_nll > 0")
    assert failed(given, row("a"), row("b", improved_words=101), row("c", response_nll=None), row("d", improved_words=120, response_nll=0.0)) == [
        [],
        ["short"],
        [],
        ["short", "scored"],
    ]


def test_own_rules_stand_behind_the_gates_in_the_order_they_are_written() -> None:
    given = Filter.model_validate({"rules": {"zebra": "count > 1", "apple": "count > 2"}, "ppl": {"min_rows": 1}})
    assert failed(given, row("a", edited_words=0, improved_tokens=3)) == [["changed", "zebra", "apple", "too_short"]]
    other = Filter.model_validate({"rules": {"apple": "count > 2", "zebra": "count > 1"}, "ppl": {"min_rows": 1}})
    assert failed(other, row("a")) == [["apple", "zebra"]]
    assert given.identity() != other.identity()


def test_a_manifest_says_the_rules_again() -> None:
    given = stage(zebra="count > 1", apple="improved != 'x' -- y")
    fields = given.identity()
    assert isinstance(fields, dict)
    again = Filter.model_validate({name: value for name, value in fields.items() if name in Filter.model_fields})
    assert (again, list(again.rules)) == (given, ["zebra", "apple"])


def test_the_unique_answer_is_one_that_the_own_rules_keep() -> None:
    rows = [row("a", sample=at, improved="same", response_words=words) for at, words in enumerate((100, 90, 90))]
    assert failed(stage(drafted="response_words < 95"), *rows) == [["drafted"], [], ["unique"]]


def test_strategies_take_their_fences_from_what_own_rules_keep() -> None:
    rows = [row(f"{mean}", improved_nll=mean * 64, improved_tokens=64, source=source) for mean, source in ((1.0, "a"), (2.0, "a"), (3.0, "a"), (50.0, "b"))]
    given = Filter.model_validate({"rules": {"mine": "source = 'a'"}, "ppl": {"min_rows": 1}})
    assert failed(given, *rows) == [[], [], [], ["mine", "ppl"]]


REFUSED = {
    "": "not BOOLEAN",
    "improved_words": "is INTEGER, not BOOLEAN",
    "no_such > 1": "no column no_such in scored",
    "improved_words < 'x'::STRUCT(a INTEGER)": "cannot be planned",
    "improved_words <": "is no SQL expression",
    "true /*": "is no SQL expression",
    "true; DROP VIEW input": "is no SQL expression",
    "true); DROP VIEW input; --": "is no SQL expression",
    "true) , (true": "more than one SQL expression",
    "true) FROM input WHERE (true": "is no SQL expression",
    "true) UNION SELECT (true": "more than one SQL expression",
    "true --\n) FROM input --": "is no SQL expression",
    "$1": "more than one SQL expression",
    "(SELECT max(improved_words) FROM input) > 3": "a subquery",
    "EXISTS (FROM read_text('/etc/hostname'))": "a subquery",
    "list_transform([1], lambda x: (SELECT x)) IS NULL": "a subquery",
    "read_text('/etc/hostname') IS NULL": "calls read_text",
    "glob('*') IS NULL": "calls glob",
    "getenv('HOME') = 'x'": "calls getenv",
    "current_setting('threads') = '1'": "calls current_setting",
    "getvariable('ppl.k') > 1": "calls getvariable",
    "setseed(0.5) IS NULL": "calls setseed",
    "write_log('x') IS NULL": "calls write_log",
    "pg_sleep(1) IS NULL": "calls pg_sleep",
    "random() < 0.5": "calls random",
    "now() IS NULL": "calls now",
    "current_date IS NULL": "no column current_date",
    "sum(improved_words) > 3": "calls sum",
    "row_number() OVER () > 3": "a window",
    "COLUMNS('.*') IS NULL": "name the columns",
    "input.source = 'a'": "no column input.source",
    "position > 3": "no column position",
    "rowid > 3": "no column rowid",
    "main.lower(source) = 'a'": "calls lower",
}


@pytest.mark.parametrize(("predicate", "message"), REFUSED.items())
def test_a_rule_is_one_expression_over_one_row_and_nothing_else(predicate: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        stage(mine=predicate)


@pytest.mark.parametrize("name", ["changed", "unique", "ppl", "ratio", "kept", "Mine", "", "a b", "x'; DROP VIEW input; --", 'x"', "a" * 64])
def test_a_rule_has_a_plain_name_of_its_own(name: str) -> None:
    with pytest.raises(ValidationError):
        stage(**{name: "true"})


def test_texts_in_rules_and_rows_are_texts() -> None:
    hostile = "'); DROP VIEW input; --\"${x}{{ y }}"
    literal = hostile.replace("'", "''")
    assert failed(stage(mine=f"source != '{literal}'"), row("a", source=hostile), row("b")) == [["mine"], []]


def test_a_rule_that_fails_on_a_row_is_named() -> None:
    with pytest.raises(RecipeError, match=r"filter: rules\.number: Conversion Error: .*response a.*TRY"):
        stage(number="response::INTEGER > 3").table(connect("scored", [row("a")]), "scored")


def test_the_connection_rules_run_in_reaches_no_file_and_no_setting(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "d", "scored", [row("a"), row("b"), row("c")])
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with deciding(dataset, tmp_path / "spill") as con:
        assert con.execute("SELECT position FROM input").fetchall() == [(0,), (1,), (2,)]
        for query in (f"FROM '{secret}'", f"COPY input TO '{tmp_path / 'x.csv'}'", "ATTACH 'x.db'", "INSTALL httpfs", "SET enable_external_access = true"):
            with pytest.raises(duckdb.Error):
                con.execute(query)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "secret.csv"]


RECIPE = """
model = "m"
[[phases]]
[phases.source]
path = "scored"
[phases.filter.rules]
short = "improved_words < 101"
"""


def test_a_rule_stands_in_the_recipe_or_on_the_command_line(tmp_path: Path) -> None:
    made_dataset(tmp_path / "scored", "scored", [row("a"), row("b", improved_words=101)])
    (phase,) = parsed(RECIPE, tmp_path / "r.toml").phases
    assert phase.filter is not None
    done = CliRunner().invoke(app, ["filter", str(tmp_path / "scored"), "-o", str(tmp_path / "out"), "--rule", "short=improved_words < 101"])
    assert done.exit_code == 0, done.stderr
    manifest = open_dataset(tmp_path / "out").manifest
    assert manifest.outcomes == {"kept": 1, "short": 1}
    assert manifest.identity.fields == phase.filter.identity()


def test_a_rule_that_is_none_is_a_fault_at_its_place(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"phases\.1\.filter\.rules\.short: calls random, which is no function .* \(got \"random\(\) < 0\.5\"\)"):
        parsed(RECIPE.replace("improved_words < 101", "random() < 0.5"), tmp_path / "r.toml")
    with pytest.raises(RecipeError, match=r"phases\.1\.filter\.rules: length is a rule already"):
        parsed(RECIPE.replace("short =", "length ="), tmp_path / "r.toml")
    shown = CliRunner().invoke(app, ["filter", "x", "--rule", "short"])
    assert shown.exit_code == 2
    assert "--rule short: is no NAME=VALUE" in shown.stderr
