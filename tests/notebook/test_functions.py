"""Claims about the functions of a notebook: they give what the commands give, from references, paths and tables in memory."""

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import datasets  # type: ignore[import-untyped]
import pandas as pd
import polars as pl
import pytest
from fake_model import FakeModel, model_folder, opens
from hub_server import Hub
from literal_rows import pair_row, row
from made import made_dataset
from pydantic import BaseModel
from sgpo_data.cli.main import app
from typer.testing import CliRunner

import sgpo_data
from sgpo_data.analysis.options import LintThresholds
from sgpo_data.errors import DatasetError, RecipeError, SgpoError, UsageError
from sgpo_data.evaluation.judge.stage import Judge
from sgpo_data.execution import Execution
from sgpo_data.health.options import Guards
from sgpo_data.notebook import options
from sgpo_data.sources.options import Source
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.improve.improve import Improve
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.stages.score_ppl import ScorePpl
from sgpo_data.stages.seed import Seed
from sgpo_data.store.dataset import Dataset

ROWS = [{"prompt": f"Say {i} and no more.", "answer": f"{i}"} for i in range(6)]
CLASSES: dict[type, tuple[type[BaseModel], ...]] = {
    options.SeedOptions: (Seed, Execution),
    options.ImproveOptions: (Improve, Execution),
    options.ScorePplOptions: (ScorePpl, Execution),
    options.FilterOptions: (Filter, Execution),
    options.PairOptions: (Pair, Execution),
    options.LintOptions: (LintThresholds,),
    options.RunOptions: (Guards, Execution),
    options.JudgeOptions: (Judge, Execution),
    options.SourceOptions: (Source,),
}


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """Every model is this one, in a folder of its own."""
    fake = FakeModel()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sgpo_data.running.engines.open_model", opens(fake))
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(each) + "\n" for each in ROWS))
    model_folder(tmp_path / "model")
    return fake


def test_from_prompts_to_pairs(fake: FakeModel) -> None:
    responses = sgpo_data.seed("prompts.jsonl", model="model", samples=2, progress="none")
    improved = sgpo_data.improve(responses, role="improve", progress="none")
    scored = sgpo_data.score_ppl(improved, progress="none")
    filtered = sgpo_data.filter(scored, gates={"max_repetition": 1}, rules={"short": "response_words < 3"}, ppl={"strategy": "none"})
    pairs = sgpo_data.pair(responses, per_prompt=1)
    assert [each.table for each in (responses, improved, scored, filtered, pairs)] == ["responses", "improved", "scored", "filtered", "pairs"]
    assert responses.manifest.rows == filtered.manifest.rows == 12
    assert pairs.scan().collect().height == 6
    assert pairs.manifest == sgpo_data.manifest(pairs.folder) == sgpo_data.manifest(str(pairs.folder))
    assert sgpo_data.sql("SELECT count(*) FROM filtered WHERE list_contains(failed_rules, 'short')", filtered).fetchall() == [(12,)]


def test_a_function_gives_what_the_command_gives(fake: FakeModel) -> None:
    ran = CliRunner().invoke(app, ["seed", "prompts.jsonl", "--model", "model", "--samples", "2", "--sampling.max-tokens", "9"], obj=opens(fake))
    assert ran.exit_code == 0, ran.stderr
    asked = len(fake.asked)
    made = sgpo_data.seed(Path("prompts.jsonl"), model=Path("model"), samples=2, sampling={"max_tokens": 9})
    assert str(made.folder) == ran.stdout.strip()
    assert len(fake.asked) == asked


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame(ROWS),
        pd.DataFrame(ROWS[::-1]).iloc[::-1],
        pl.DataFrame(ROWS),
        pl.DataFrame(ROWS).lazy(),
        pl.DataFrame(ROWS).to_arrow(),
        datasets.Dataset.from_list(ROWS),
        datasets.Dataset.from_list(ROWS[::-1]).select(range(5, -1, -1)),
    ],
    ids=["pandas", "pandas with an index", "polars", "lazy", "arrow", "datasets", "datasets with indices"],
)
def test_a_table_in_memory_is_written_once_and_named_by_its_content(table: object, fake: FakeModel) -> None:
    first = sgpo_data.seed(pl.DataFrame(ROWS), model="model", progress="none")
    asked = len(fake.asked)
    again = sgpo_data.seed(table, model="model", progress="none")
    assert (again.folder, len(fake.asked)) == (first.folder, asked)
    assert len(list(Path("runs/frames").iterdir())) == 1
    assert sgpo_data.scan(first).collect()["response"].str.starts_with("Say").all()


def test_other_rows_are_another_dataset() -> None:
    one = sgpo_data.seed(pl.DataFrame(ROWS), model="model", progress="none")
    other = sgpo_data.seed(pl.DataFrame(ROWS[:5]), model="model", progress="none")
    assert one.folder != other.folder
    assert other.manifest.rows == 5


def test_conversations_in_a_frame_are_prompts() -> None:
    turns = [{"messages": [{"role": "user", "content": f"hello {i}"}, {"role": "assistant", "content": "hi"}]} for i in range(3)]
    made = sgpo_data.seed(pl.DataFrame(turns), model="model", progress="none")
    assert made.scan().collect()["messages"].to_list() == [[{"role": "user", "content": f"hello {i}"}] for i in range(3)]


def test_sql_takes_tables_in_memory_by_name() -> None:
    dataset = made_dataset(Path("d"), "filtered", [row(str(i)) for i in range(3)])
    mine = pd.DataFrame({"prompt_id": dataset.scan().collect()["prompt_id"].to_list()[:2], "grade": [1.5, 2.5]})
    asked = sgpo_data.sql("SELECT sum(grade) FROM f JOIN mine USING (prompt_id)", f=dataset, mine=mine)
    assert asked.fetchall() == [(4.0,)]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: sgpo_data.seed("prompts.jsonl", model="model", sampels=2),  # type: ignore[call-arg]
            UsageError,
            "seed: takes no sampels; did you mean samples?",
        ),
        (lambda: sgpo_data.seed("prompts.jsonl", model="model", samples=0), UsageError, "seed: samples: Input should be greater than or equal to 1 (got 0)"),
        (lambda: sgpo_data.filter("x", ppl={"k": -1}), UsageError, "filter: ppl.k: Input should be greater than 0 (got -1)"),
        (lambda: sgpo_data.seed(7, model="model"), UsageError, "int: is no reference"),
        (lambda: sgpo_data.seed(pl.DataFrame(), model="model"), SgpoError, "no rows"),
        (lambda: sgpo_data.seed(datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS)), model="model"), UsageError, "holds the splits train"),
        (lambda: sgpo_data.sql("SELECT 1", pl.DataFrame(ROWS)), UsageError, "name=table"),  # type: ignore[arg-type]
        (lambda: sgpo_data.scan("nowhere"), DatasetError, "nowhere: no such dataset"),
        (lambda: sgpo_data.improve("prompts.jsonl"), DatasetError, "improve reads responses"),
        (lambda: sgpo_data.publish("prompts.jsonl", repository="no-name", tag="v1"), UsageError, "no-name"),
        (lambda: sgpo_data.evaluate("a", "b", judge="model", prompt="mine.jinja"), UsageError, "say how its verdict is read"),
        (lambda: sgpo_data.run("nowhere.toml"), RecipeError, "nowhere.toml"),
    ],
)
def test_a_mistake_is_an_exception_with_its_line(call, error: type[SgpoError], words: str) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    with pytest.raises(error, match=r".*") as caught:
        call()
    assert words in str(caught.value)


def test_lint_tells_each_check_and_raises_at_none() -> None:
    pairs = made_dataset(Path("pairs"), "pairs", [pair_row(str(i)) for i in range(30)])
    found = sgpo_data.lint(pairs, max_less_likely=0.5)
    assert {"check", "value", "threshold", "verdict"} <= set(found.columns)
    assert found.filter(check="empty")["verdict"].to_list() == ["ok"]


def test_lint_pairs_raw_preferences_first() -> None:
    raw = pl.DataFrame({"prompt": ["Say a.", "Say b."], "chosen": ["a", ""], "rejected": ["x", "y"]})
    assert sgpo_data.lint(raw).filter(check="empty")["value"].to_list() != [None]


def test_publish_tries_out_what_it_would_do_and_changes_nothing(hub: Hub) -> None:
    pairs = made_dataset(Path("pairs"), "pairs", [pair_row(str(i)) for i in range(2)])
    tried = sgpo_data.publish(pairs, repository="org/x", tag="v1", dry_run=True)
    assert hub.repositories.all == {}
    assert {each.path: each.what for each in tried.changes if each.path.startswith("pairs/")} == {
        "pairs/part-00000.parquet": "upload",
        "pairs/manifest.json": "upload",
    }
    assert (tried.known, tried.upload_bytes) == (True, tried.bytes)
    command = ["publish", "pairs", "org/x", "--tag", "v1", "--dry-run", "--json"]
    printed = json.loads(CliRunner().invoke(app, command).stdout)
    assert printed == [{"path": each.path, "bytes": each.bytes, "what": each.what} for each in tried.changes]
    assert sgpo_data.publish(pairs, repository="org/x", tag="v1").made_now
    assert sgpo_data.publish(pairs, repository="org/x", tag="v1", dry_run=True).upload_bytes == 0


def test_a_dataset_goes_to_the_datasets_library() -> None:
    dataset = made_dataset(Path("pairs"), "pairs", [pair_row(str(i)) for i in range(5)])
    rows = dataset.to_datasets()
    assert rows.num_rows == 5
    assert rows[4]["chosen"] == [{"role": "assistant", "content": "chosen 4"}]


def test_a_dataset_shows_itself_in_a_line_and_as_html_that_runs_nothing() -> None:
    dataset = made_dataset(Path("d"), "filtered", [row("a", response="<script>alert(1)</script>"), row("b", dropped_by="ppl", failed_rules=["ppl"])])
    assert repr(dataset) == "Dataset(d: 2 rows of filtered; kept 1, ppl 1)"
    shown = dataset._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert "2 rows of filtered" in shown


def test_the_names_are_those_that_are_listed() -> None:
    source = ast.parse(inspect.getsource(sgpo_data))
    typed = {name.name for node in ast.walk(source) if isinstance(node, ast.ImportFrom) and node.col_offset for name in node.names}
    assert sgpo_data.__all__ == sorted(typed)
    assert [name for name in sgpo_data.__all__ if getattr(sgpo_data, name, None) is None] == []
    public = {name for name in dir(sgpo_data) if not name.startswith("_")}
    assert set(sgpo_data.__all__) <= public


def test_making_data_without_a_model_imports_no_model_library() -> None:
    pairs = made_dataset(Path("filtered"), "filtered", [row(str(i)) for i in range(3)])
    heavy = ("torch", "transformers", "datasets", "trl", "vllm")
    script = f"import sys, sgpo_data; sgpo_data.pair({str(pairs.folder)!r}); print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("typed", CLASSES, ids=lambda typed: typed.__name__)
def test_an_editor_knows_the_options_of_the_class(typed: type) -> None:
    assert differences(typed, *CLASSES[typed]) == []


def differences(typed: type, *models: type[BaseModel]) -> list[str]:
    """Where names or types of the keyword arguments are not those of the fields."""
    hints, fields = get_type_hints(typed), {name: field.annotation for model in models for name, field in model.model_fields.items()}
    found = [f"{typed.__name__}.{name}" for name in hints.keys() ^ fields.keys()]
    for name in hints.keys() & fields.keys():
        hint, own = hints[name], fields[name]
        if is_typeddict(hint):
            assert isinstance(own, type)
            found += differences(hint, own)
        elif plain(hint) != plain(own):
            found.append(f"{typed.__name__}.{name}: {hint} is not {own}")
    return found


def plain(annotation: object) -> object:
    """A type with what stands for the same taken for the same: any sequence, any mapping, a template and its name, a path and its text."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return frozenset(each for argument in arguments for each in (get_args(argument) or (argument,)))
    if origin in (Union, UnionType):
        if PathLike in [get_origin(argument) for argument in arguments]:
            return frozenset(("text", NoneType)) if NoneType in arguments else "text"
        return frozenset(map(plain, arguments))
    if origin is not None and issubclass(origin, Mapping):
        return "mapping"
    if origin is not None:
        return "sequence"
    if isinstance(annotation, type) and annotation.__name__ in ("Template", "JudgePrompt", "Path", "str"):
        return "text"
    return annotation


def test_a_help_shows_each_option_with_its_default() -> None:
    signature = inspect.signature(sgpo_data.seed)
    assert signature.parameters["samples"].default == 1
    assert signature.parameters["sampling"].default == {"temperature": 0.7, "top_p": 0.9, "top_k": 0, "max_tokens": 1024, "seed": 0}
    assert signature.parameters["device"].default == "auto"
    assert "samples: Answers to each prompt." in (sgpo_data.seed.__doc__ or "")


def test_dataset_is_the_class_of_what_is_given() -> None:
    assert sgpo_data.Dataset is Dataset
