import json
import math
import re
from pathlib import Path

import pytest
from literal_rows import prompt_id, row
from made import made_dataset
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.analysis.look import Look, look
from sgpo_data.errors import DatasetError
from sgpo_data.schema import schema, tables
from sgpo_data.store.dataset import Dataset

HOSTILE = "\x1b]0;title\x07\x9b31m\u202e" + "長い" * 300 + "\nnext"

WHOLE = {
    "prompt": [{"role": "user", "content": "question"}],
    "chosen": [{"role": "assistant", "content": "good"}],
    "completion": [{"role": "assistant", "content": "good"}],
    "kind": "reference",
    "chosen_nll": 10.0,
    "chosen_tokens": 10,
    "rejected_nll": 20.0,
    "rejected_tokens": 10,
}


def rows_of(table: str, count: int) -> list[dict[str, object]]:
    rejected: object = [{"role": "assistant", "content": "bad"}] if table == "pairs" else None
    return [{**row(f"p{number}"), **WHOLE, "rejected": rejected, "policy": None if table == "examples" else "model-p"} for number in range(count)]


def shown(dataset: Dataset, *arguments: str, columns: int = 80) -> str:
    result = CliRunner().invoke(app, ["inspect", str(dataset.folder), *arguments], env={"COLUMNS": str(columns)})
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def column(found: Look, name: str) -> tuple[float, ...] | None:
    (one,) = (each for each in found.columns if each.name == name)
    return one.quantiles or one.characters


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("table", tables())
def test_every_table_is_shown_in_80_columns(table: str, count: int, tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "d", table, rows_of(table, count))
    for arguments in ((), ("--whole",)):
        out = shown(dataset, *arguments)
        assert max(map(len, out.splitlines())) <= 80
        assert all(re.search(rf"[ ,]{name}[ ,\n]", out) for name in schema(table).column_names)
        assert out.count("sample row") == min(count, 3)
    told = json.loads(shown(dataset, "--json"))
    assert told["rows"] == count
    assert [each["name"] for each in told["columns"]] == list(schema(table).column_names)


def test_numbers_are_told_by_their_quantiles(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "d", "scored", [row(f"p{n}", improved_nll=float(n), improved_tokens=10) for n in range(101)], part_rows=10)
    found = look(dataset)
    assert column(found, "improved_nll") == (0, 5, 50, 95, 100)
    ppl = next(each for each in found.perplexities if each.name == "improved_ppl")
    assert ppl.formula == "exp(improved_nll / improved_tokens)"
    assert ppl.quantiles == pytest.approx([math.exp(n / 10) for n in (0, 5, 50, 95, 100)])


def test_every_nll_has_a_perplexity_over_its_own_tokens(tmp_path: Path) -> None:
    given = row("a", response_nll=1.0, response_tokens=2, improved_tokens=4, improved_nll_given_draft=8.0, reference_nll=None)
    found = look(made_dataset(tmp_path / "d", "scored", [given]))
    told = {each.name: each.quantiles and each.quantiles[0] for each in found.perplexities}
    assert told == {
        "sampled_ppl": pytest.approx(math.exp(0.5)),
        "response_ppl": pytest.approx(math.exp(0.5)),
        "improved_ppl": pytest.approx(math.exp(25)),
        "reference_ppl": None,
        "improved_ppl_given_draft": pytest.approx(math.exp(2)),
    }


def test_texts_are_told_by_their_lengths_and_conversations_by_those_of_all_turns(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "ab"}, {"role": "user", "content": "長い"}]
    found = look(made_dataset(tmp_path / "d", "prompts", [row("a", messages=turns, reference="abc")]))
    assert column(found, "messages") == (4, 4, 4, 4, 4)
    assert column(found, "reference") == (3, 3, 3, 3, 3)


def test_nulls_are_counted(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "d", "prompts", [row("a"), row("b", reference=None), row("c", reference=None), row("d")])
    assert {each.name: each.nulls for each in look(dataset).columns if each.nulls} == {"reference": 2, "rejected": 4, "duplicate_of": 4, "contaminated_by": 4}
    assert re.search(r"reference +VARCHAR +50.0 % null", shown(dataset))


def test_reasons_count_every_rule_a_row_fails(tmp_path: Path) -> None:
    rows = [
        row("a"),
        row("b", dropped_by="length", failed_rules=["length", "tukey"]),
        row("c", dropped_by="tukey", failed_rules=["tukey"], finish="length"),
        row("d"),
    ]
    dataset = made_dataset(tmp_path / "d", "filtered", rows)
    assert look(dataset).reasons == {
        "finish": {"stop": 3, "length": 1},
        "improved_finish": {"stop": 4},
        "role": {"refine": 4},
        "dropped_by": {"kept": 2, "length": 1, "tukey": 1},
        "failed_rules": {"tukey": 2, "length": 1},
    }
    assert "kept 2 (50.0 %), length 1 (25.0 %), tukey 1 (25.0 %)" in shown(dataset, columns=120)


def test_header_tells_where_the_dataset_comes_from(tmp_path: Path) -> None:
    out = shown(made_dataset(tmp_path / "d", "responses", [row("a"), row("b", finish="length")]), columns=120)
    assert "responses: One row per prompt and sample: what the policy answered, or why it did not." in out
    for line in (
        "rows          2 from 2 in",
        "outcomes      length 1 (50.0 %), stop 1 (50.0 %)",
        "policy        folder:abc (models/p)",
        "facts         upper_fence 1.5",
    ):
        assert f"  {line}\n" in out
    assert "  warning       few rows\n" in out


def test_sample_depends_on_the_rows_and_the_seed_alone(tmp_path: Path) -> None:
    rows = [row(f"p{number}") for number in range(50)]
    first = look(made_dataset(tmp_path / "a", "prompts", rows)).sample
    turned = look(made_dataset(tmp_path / "b", "prompts", rows[::-1], part_rows=7)).sample
    other = look(made_dataset(tmp_path / "c", "prompts", rows), seed=1).sample
    assert first == turned
    assert len({str(each["prompt_id"]) for each in first}) == 3
    assert first != other


def test_sample_row_is_whole(tmp_path: Path) -> None:
    (sample,) = look(made_dataset(tmp_path / "d", "responses", [row("a")])).sample
    assert sample["prompt_id"] == prompt_id("a")
    assert sample["messages"] == [{"role": "user", "content": "question a"}]
    assert tuple(sample) == schema("responses").column_names


def test_hostile_text_can_not_drive_the_terminal(tmp_path: Path) -> None:
    dataset = made_dataset(
        tmp_path / "d", "responses", [row("a", response=HOSTILE, source=HOSTILE, messages=[{"role": "user", "content": HOSTILE}], policy=HOSTILE)]
    )
    out, told = shown(dataset), shown(dataset, "--json")
    assert not set(out + told) & {"\x1b", "\x07", "\x9b", "\u202e"}
    assert "\\x1b]0;title\\x07" in out
    assert json.loads(told)["sample"][0]["response"] == HOSTILE


def test_long_text_is_cut_and_says_how_long_it_is(tmp_path: Path) -> None:
    out = shown(made_dataset(tmp_path / "d", "responses", [row("a", response="word " * 1000)]))
    assert "  response (5000 characters, cut)" in out
    assert out.count("word word") < 50


def test_a_column_takes_a_line_and_what_it_means_is_told_if_all_is_asked_for(tmp_path: Path) -> None:
    given = [row(f"p{number}", rejected=None, response="word " * 200 + "end") for number in range(3)]
    dataset = made_dataset(tmp_path / "d", "filtered", given)
    brief, whole = shown(dataset, "--rows", "1"), shown(dataset, "--rows", "1", "--whole")
    assert len(brief.splitlines()) < 100 < len(whole.splitlines())
    assert "null in every row: rejected" in brief
    for told in ("The first rule the row fails", "word end", "exp(improved_nll"):
        assert told not in brief
        assert told in whole
    assert "(1003 characters, cut)" in brief
    assert "(1003 characters)" in whole
    assert "--whole" in brief


def test_estimated_quantiles_are_near_the_exact_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = made_dataset(tmp_path / "d", "scored", [row(f"p{n}", improved_nll=float(n)) for n in range(1001)], part_rows=500)
    monkeypatch.setattr("sgpo_data.analysis.look.EXACT_ROWS", 1000)
    found = look(dataset)
    assert not found.exact
    assert column(found, "improved_nll") == pytest.approx((0, 50, 500, 950, 1000), abs=5)
    assert "estimated" in shown(dataset)


def test_broken_part_is_told_with_what_to_do(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "d", "prompts", [row("a")])
    dataset.paths[0].write_bytes(b"PAR1 not at all")
    with pytest.raises(DatasetError, match=r"sgpo check .* tells what is broken"):
        look(dataset)
