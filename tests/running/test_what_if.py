"""Claims about what-if: it tells what filtering would give, and writes nothing."""

import json
import random
from pathlib import Path

import pytest
from literal_rows import row
from made import made_dataset
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.errors import SchemaError, UsageError
from sgpo_data.execution import Execution
from sgpo_data.running.runner import run
from sgpo_data.running.what_if import alternatives, what_if
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.store.dataset import Dataset


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    draw = random.Random(5)
    rows = [
        row(
            f"{at // 3}",
            sample=at % 3,
            improved=f"answer {draw.randrange(4)}",
            edited_words=draw.randrange(100),
            improved_nll=draw.lognormvariate(4.6, 0.8),
            improved_nll_given_draft=draw.lognormvariate(4, 0.5),
            reference_nll=draw.choice([None, 90.0]),
            improved_reward=draw.gauss(0, 1),
            source=draw.choice(["a", "b"]),
        )
        for at in range(600)
    ]
    return made_dataset(tmp_path_factory.mktemp("what") / "scored", "scored", rows, part_rows=128)


@pytest.mark.parametrize(
    "asked",
    [
        ["ppl.k=0.5,1.5,3"],
        ["gates.min_edit=0,0.3", "ppl.k=0.5,3"],
        ["ppl.strategy=tukey,quantile,sandwich,ratio,margin,none,sandwich+ratio"],
        ["gates.unique=true,false"],
        ["ppl.group_by=source,role"],
        ["ppl.sandwich.undefined=keep,drop,tukey"],
        ["ppl.min_rows=1,1000"],
    ],
)
def test_it_is_what_filtering_then_gives(scored: Dataset, asked: list[str], tmp_path: Path) -> None:
    base = Filter.model_validate({"rules": {"mine": "improved_nll < 300"}, "ppl": {"strategy": "sandwich"} if "sandwich" in asked[0] else {}})
    found = what_if(scored, alternatives(base, asked))
    assert len(found) >= 2
    assert len({json.dumps(dict(each.outcomes)) for each in found}) > 1 or asked[0] in ("ppl.group_by=source,role", "ppl.min_rows=1,1000")
    for number, each in enumerate(found):
        made = run(each.alternative.stage, str(scored.folder), out=tmp_path / str(number), execution=Execution(root=tmp_path)).manifest
        assert {name: rows for name, rows in each.outcomes.items() if rows} == made.outcomes
        assert each.facts == made.facts
        assert each.warnings == made.warnings


def asked(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["filter", *arguments], env={"COLUMNS": "120"})
    return result.exit_code, result.stdout, result.stderr


def test_the_waterfall_is_a_line_for_each_combination_and_nothing_is_written(scored: Dataset, tmp_path: Path) -> None:
    before = sorted(scored.folder.parent.rglob("*"))
    code, out, err = asked(str(scored.folder), "--root", str(tmp_path), "--gates.min_edit", "0.3", "--what-if", "ppl.k=1,3", "--what-if", "ppl.side=both,upper")
    assert code == 0, err
    head, *lines = (line.split() for line in out.splitlines())
    assert head == ["ppl.k", "ppl.side", "rows", "changed", "incremental", "unique", "ppl", "kept", "share"]
    assert [line[:3] for line in lines] == [["1", "both", "600"], ["1", "upper", "600"], ["3", "both", "600"], ["3", "upper", "600"]]
    assert all(sum(map(int, line[3:8])) == 600 for line in lines)
    assert sorted(scored.folder.parent.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


def test_json_tells_rules_facts_and_warnings(scored: Dataset) -> None:
    code, out, _ = asked(str(scored.folder), "--what-if", "ppl.min_rows=1,1000", "--json")
    assert code == 0
    few, many = json.loads(out)
    assert few["values"] == {"ppl.min_rows": "1"}
    assert few["rows"] == sum(few["outcomes"].values()) == 600
    assert list(few["outcomes"])[-2:] == ["ppl", "kept"]
    assert few["facts"]["ppl.high"] > few["facts"]["ppl.low"]
    assert "fewer than ppl.min_rows = 1000" in many["warnings"][0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ppl.k", "is no key=value,value"),
        ("ppl.k=1,,2", "is no key=value,value"),
        ("ppl.kk=1", "filter has no key ppl.kk; did you mean ppl.k?"),
        ("rules.mine=true", "filter has no key rules.mine"),
        ("ppl.k=1,-2", r"ppl.k: Input should be greater than 0 \(got -2\)"),
        ("ppl.strategy=best", "no strategy best"),
        ("gates.min_edit=" + ",".join(["0"] * 300), "at most 200"),
    ],
)
def test_what_can_not_be_asked_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        alternatives(Filter(), [text])


def test_only_what_filter_reads_is_asked(scored: Dataset, tmp_path: Path) -> None:
    filtered = made_dataset(tmp_path / "f", "filtered", [row("a")])
    with pytest.raises(SchemaError, match="holds filtered; filter reads scored"):
        what_if(filtered, alternatives(Filter(), ["ppl.k=1"]))
    assert asked(str(scored.folder), "--what-if", "ppl.k=1", "-o", "x")[0] == 2
