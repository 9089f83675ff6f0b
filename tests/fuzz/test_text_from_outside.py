"""References, queries, rules and recipes of any text: what we can do, or one line."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import duckdb
import pytest
from fake_model import model_folder as made_model
from fuzzing import INPUTS, TEXTS, hold_both, numbered, refused, text
from literal_rows import row
from made import made_dataset
from pydantic import ValidationError

from sgpo_data.errors import RecipeError
from sgpo_data.query.sandbox import Tables, sandbox, selected
from sgpo_data.recipe.file import parsed
from sgpo_data.references.dataset import existing
from sgpo_data.references.model import find_model, model_folder
from sgpo_data.references.run import run_folder
from sgpo_data.running.deciding import deciding
from sgpo_data.schema import schema
from sgpo_data.sources.options import Source
from sgpo_data.sources.source import open_source
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.store.dataset import open_dataset
from sgpo_data.store.lock import claimed


def on_the_hub(reference: str) -> bool:
    return reference.startswith("hf://") or reference.count("/") == 1


def test_every_reference_is_found_or_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    made_dataset(Path("rows"), "prompts", [{column: row()[column] for column in schema("prompts").column_names}])
    made_model(Path("model"))
    Path("raw.jsonl").write_text('{"prompt": "a"}\n')
    everywhere: dict[str, Callable[[str], object]] = {"rows": lambda r: run_folder(r, tmp_path), "model": lambda r: model_folder(r, tmp_path)}
    here: dict[str, Callable[[str], object]] = {
        "rows": lambda r: existing(r, tmp_path), "model": find_model, "raw.jsonl": lambda r: open_source(r, Source()),
    }  # fmt: skip
    refusals = []
    for rng in numbered("references"):
        reference = "".join(rng.choice(("", "x", "/", "~", ".", text(rng))) for _ in range(rng.randint(1, 3)))
        if reference.startswith(("/", "~")) or ".." in reference:
            # Nothing of this machine is read; names of users are looked at below.
            reference = f"x{reference}"
        there, way = rng.choice([*everywhere.items(), *(() if on_the_hub(reference) else here.items())])
        # What is there, now and then, and under other names for it.
        reference = rng.choice((there, f"./{there}", f"{there}/", f"../here/{there}")) if rng.random() < 0.2 else reference
        refusals.append(refused(lambda way=way, reference=reference: way(reference)))  # type: ignore[misc]
    hold_both(refusals)


@pytest.mark.parametrize("reference", ["a\0b", "\ud800", "x\udcff", "x" * 300, "x/" * 3000, "~no-such-user/x"])
def test_a_name_that_no_file_system_holds_is_one_line_wherever_it_is_given(reference: str, tmp_path: Path) -> None:
    for way in (existing, run_folder, model_folder):
        assert refused(lambda way=way: way(reference, tmp_path))  # type: ignore[misc]
    assert refused(lambda: find_model(reference))
    assert refused(lambda: open_source(reference, Source()))
    assert refused(lambda: parsed(f'model = "{"x" * 300}"', Path(reference)))


WORDS = (
    "SELECT", "1", "FROM", "WHERE", "x", "(", ")", "[", "]", ",", "+", "'", '"', "NULL", "WITH", "AS", "CASE", "{", "}", ":", "::", "-", "--",
    "\n", ";", "$1", "?",
)  # fmt: skip
QUERIES = (
    "SELECT 1 + 2 AS x", "FROM range ( 3 ) WHERE range > 1", "SELECT [ 1 , NULL ] [ 1 ]", "WITH a AS ( SELECT 'x' AS b ) SELECT b FROM a",
    "SELECT CASE WHEN true THEN { 'x' : 1 } END", "VALUES ( 1 , 'a' ) , ( 2 , NULL )", "SELECT x :: VARCHAR FROM range ( 2 ) AS r ( x )",
)  # fmt: skip


def test_every_query_is_answered_or_one_line() -> None:
    con = sandbox(Tables({}, {}, {}, {}))
    refusals = []
    for rng in numbered("sql"):
        words = rng.choice(QUERIES).split(" ")
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(words))
            words[at : at + rng.randrange(3)] = [rng.choice(WORDS) if rng.random() < 0.9 else text(rng)]
        if rng.random() < 0.3:
            words = [rng.choice(WORDS) if rng.random() < 0.9 else text(rng) for _ in range(rng.randint(1, 14))]
        query = " ".join(words)
        refusals.append(refused(lambda query=query: selected(con, query)))  # type: ignore[misc]
    hold_both(refusals)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT " + "(" * 5000 + "1" + ")" * 5000, "expression depth"),
        ("SELECT " + "1+" * 900 + "1", "nested too deeply"),
        ("SELECT '\0'", "NUL or bytes that are not UTF-8"),
        ("SELECT '\ud800'", "NUL or bytes that are not UTF-8"),
        ("SELECT " + "9" * 5000, None),
    ],
)
def test_a_query_that_is_hard_to_take_apart_is_one_line_or_planned(query: str, said: str | None) -> None:
    line = refused(lambda: selected(sandbox(Tables({}, {}, {}, {})), query))
    assert line is None if said is None else said in str(line)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("(" * 5000 + "true" + ")" * 5000, "expression depth"),
        (" AND ".join(["true"] * 3000), None),
        ("NOT " * 900 + "true", "nested too deeply"),
        ("'\0' = ''", "NUL or bytes that are not UTF-8"),
        ("'\ud800' = ''", "NUL or bytes that are not UTF-8"),
        ("9" * 5000, "not BOOLEAN"),
    ],
)
def test_a_rule_that_is_hard_to_take_apart_is_a_fault_or_taken(rule: str, said: str | None) -> None:
    def checked() -> None:
        try:
            Filter(rules={"mine": rule})
        except ValidationError as error:
            raise RecipeError(*(each["msg"] for each in error.errors())) from error

    line = refused(checked)
    assert line is None if said is None else said in str(line)


def test_every_table_of_rules_filters_rows_or_is_a_fault(tmp_path: Path) -> None:
    words = (*TEXTS, "improved_words", "> 3", "AND", "NOT", "(", ")", "1", "length(improved)", "[1]", "/ 0", "source", "::INT", "--", ";", "$1", "?")

    def checked(rules: object, con: duckdb.DuckDBPyConnection) -> None:
        try:
            stage = Filter.model_validate({"rules": rules})
        except ValidationError as error:
            raise RecipeError(*(each["msg"] for each in error.errors())) from error
        assert len(stage.table(con, "scored").rows.fetchall()) == 1

    refusals = []
    made_dataset(tmp_path / "scored", "scored", [{column: row()[column] for column in schema("scored").column_names}])
    with deciding(open_dataset(tmp_path / "scored"), tmp_path) as con:
        # A rule that can be run is run, which takes as long as sixteen other inputs.
        for rng in islice(numbered("rules"), INPUTS // 16):
            operands = ("improved_words", "length(improved)", "improved_nll / 0", "improved::INT", "source", "messages", "1", "NULL", "'x'")
            whole = f"{rng.choice(operands)} {rng.choice(('>', '=', 'IN', 'LIKE', '<>', 'AND'))} ({rng.choice(operands)})"
            predicate = whole if rng.random() < 0.5 else " ".join(rng.choice(words) for _ in range(rng.randint(1, 5)))
            rules = {"mine" if rng.random() < 0.8 else text(rng): predicate}
            refusals.append(refused(lambda rules=rules: checked(rules, con)))  # type: ignore[misc]
    hold_both(refusals)


RECIPE = 'model = "m"\n[[phases]]\n[phases.source]\npath = "p.jsonl"\n[phases.seed]\nsampling.max_tokens = 5\n'


@pytest.mark.parametrize("value", ["[" * 5000, "[" * 5000 + "]" * 5000, "9" * 5000, "{a=" * 3000])
def test_a_recipe_that_cannot_be_read_is_one_fault(value: str, tmp_path: Path) -> None:
    assert refused(lambda: parsed(f"model = {value}\n", tmp_path / "x.toml"))


def test_every_recipe_is_read_or_its_faults(tmp_path: Path) -> None:
    refusals = []
    for rng in numbered("recipes"):
        at = rng.randrange(len(RECIPE))
        new = rng.choice((*TEXTS, '"5"', "inf", "nan", "[]", "{}", "=", "\n", "[phases.pair]\n", "1979-05-27"))
        changed = RECIPE[:at] + new + RECIPE[at + rng.randrange(6) :]
        refusals.append(refused(lambda changed=changed: parsed(changed, tmp_path / "x.toml")))  # type: ignore[misc]
    hold_both(refusals)


def test_a_folder_to_write_with_a_name_too_long_is_one_line(tmp_path: Path) -> None:
    def taken(name: str) -> None:
        with claimed(tmp_path / name):
            pass

    for name in ("x" * 300, "a\0b", "\ud800"):
        assert refused(lambda name=name: taken(name))  # type: ignore[misc]


@pytest.mark.parametrize("key", ["learning_rate", "beta", "epochs", "sft_weight"])
@pytest.mark.parametrize("value", ['"5e-7"', "inf"])
def test_a_number_of_a_training_is_a_finite_number_and_no_text(key: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=rf"phases\.1\.train\.{key}: Input should be a .*number"):
        parsed(f"{RECIPE}[phases.train]\n{key} = {value}\n", tmp_path / "x.toml")
