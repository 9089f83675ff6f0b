import json
import math
from bisect import bisect_right
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from literal_rows import Values, prompt_id, row
from made import made_dataset
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.analysis.diff import Move, diff
from sgpo_data.errors import DatasetError, SchemaError
from sgpo_data.schema import tables
from sgpo_data.store.dataset import Dataset
from sgpo_data.text.word_diff import Piece, merged, sides, word_diff

HOSTILE = "\x1b]0;title\x07\x9b31m\u202e"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Dataset, Dataset]:
    """B lacks row a, has row e, keeps b, drops c by another rule, and has another text in d."""
    before = [row("a"), row("b"), row("c", dropped_by="ppl", failed_rules=["ppl"]), row("d", improved="one two three")]
    after = [row("d", improved="one 2 three"), row("c", dropped_by="length", failed_rules=["length"]), row("b"), row("e")]
    return made_dataset(tmp_path / "a", "filtered", before), made_dataset(tmp_path / "b", "filtered", after, part_rows=3)


def shown(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["diff", *map(str, arguments)], env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_rows_are_told_apart_by_their_key_whatever_their_order(pair: tuple[Dataset, Dataset]) -> None:
    found = diff(*pair)
    assert (found.rows_a, found.rows_b, found.only_a, found.only_b, found.changed, found.same) == (4, 4, 1, 1, 2, 1)
    assert found.only_a_keys == ({"prompt_id": prompt_id("a"), "sample": 0},)
    assert found.only_b_keys == ({"prompt_id": prompt_id("e"), "sample": 0},)
    assert found.columns == {"improved": 1, "dropped_by": 1, "failed_rules": 1}


def test_moves_name_the_rules(pair: tuple[Dataset, Dataset]) -> None:
    assert diff(*pair).moves == (Move("dropped_by", "ppl", "length", 1),)


def test_sample_holds_what_changed_and_nothing_else(pair: tuple[Dataset, Dataset]) -> None:
    found = {str(each.key["prompt_id"]): (dict(each.before), dict(each.after)) for each in diff(*pair).sample}
    assert found == {
        prompt_id("c"): ({"dropped_by": "ppl", "failed_rules": ["ppl"]}, {"dropped_by": "length", "failed_rules": ["length"]}),
        prompt_id("d"): ({"improved": "one two three"}, {"improved": "one 2 three"}),
    }


@pytest.mark.parametrize("table", tables())
def test_dataset_of_any_table_is_like_itself(table: str, tmp_path: Path) -> None:
    pairs = {
        "prompt": [{"role": "user", "content": "q"}],
        "chosen": [{"role": "assistant", "content": "g"}],
        "completion": [{"role": "assistant", "content": "g"}],
    }
    rejected: object = [{"role": "assistant", "content": "bad"}] if table == "pairs" else None
    given_rows = [{**row(name), **pairs, "kind": "reference", "rejected": rejected, "policy": None if table == "examples" else "p"} for name in "ab"]
    dataset = made_dataset(tmp_path / "d", table, given_rows)
    found = diff(dataset, dataset)
    assert (found.same, found.changed, found.only_a, found.only_b) == (2, 0, 0, 0)
    assert (found.columns, found.moves, found.shifts, found.identity, found.sample) == ({}, (), (), (), ())
    assert "recipe: the same" in shown(dataset.folder, dataset.folder)


def test_null_is_not_a_value(tmp_path: Path) -> None:
    a = made_dataset(tmp_path / "a", "prompts", [row("a", reference=None), row("b", reference="")])
    b = made_dataset(tmp_path / "b", "prompts", [row("a", reference=""), row("b", reference="")])
    assert diff(a, b).columns == {"reference": 1}


@pytest.mark.parametrize("empty", ["a", "b", "both"])
def test_table_without_rows_differs_by_all_rows_of_the_other(empty: str, tmp_path: Path) -> None:
    rows: dict[str, list[Values]] = {name: [] if empty in (name, "both") else [row("x")] for name in "ab"}
    a, b = (made_dataset(tmp_path / name, "scored", rows[name]) for name in "ab")
    found = diff(a, b)
    assert (found.only_a, found.only_b, found.changed) == (len(rows["a"]), len(rows["b"]), 0)
    shown(a.folder, b.folder)


def test_no_row_in_common_is_said(tmp_path: Path) -> None:
    a, b = made_dataset(tmp_path / "a", "prompts", [row("a")]), made_dataset(tmp_path / "b", "prompts", [row("b")])
    assert "none is in both: these are answers to other prompts" in shown(a.folder, b.folder)


def test_two_tables_are_refused(tmp_path: Path) -> None:
    a, b = made_dataset(tmp_path / "a", "prompts", [row("a")]), made_dataset(tmp_path / "b", "responses", [row("a")])
    with pytest.raises(SchemaError, match=r"a: holds prompts, and .*b holds responses; give two datasets of one table"):
        diff(a, b)


def test_broken_part_is_told_with_what_to_do(pair: tuple[Dataset, Dataset]) -> None:
    pair[0].paths[0].write_bytes(b"PAR1 not at all")
    with pytest.raises(DatasetError, match="sgpo check tells what is broken"):
        diff(*pair)


def test_shift_is_that_of_the_distributions(tmp_path: Path) -> None:
    before = [float(n * n % 17) for n in range(40)]
    after = [float(n * n % 13) + 3 for n in range(60)]
    a = made_dataset(tmp_path / "a", "scored", [row(f"p{n}", improved_nll=value) for n, value in enumerate(before)], part_rows=40)
    b = made_dataset(tmp_path / "b", "scored", [row(f"p{n}", improved_nll=value) for n, value in enumerate(after)], part_rows=60)
    (shift,) = (each for each in diff(a, b).shifts if each.name == "improved_nll")
    mean_a, mean_b = sum(before) / 40, sum(after) / 60
    variance_a, variance_b = sum((v - mean_a) ** 2 for v in before) / 39, sum((v - mean_b) ** 2 for v in after) / 59
    assert shift.standardised == pytest.approx((mean_b - mean_a) / math.sqrt((variance_a + variance_b) / 2))
    low, high = sorted(before), sorted(after)
    assert shift.distance == pytest.approx(max(abs(bisect_right(low, v) / 40 - bisect_right(high, v) / 60) for v in before + after))
    assert shift.a is not None
    assert shift.a.mean == pytest.approx(mean_a)
    assert (shift.a.rows, shift.a.quantiles[0], shift.a.quantiles[4]) == (40, min(before), max(before))


def test_larger_tables_are_sampled_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgpo_data.analysis.shift.SAMPLE_ROWS", 100)
    a = made_dataset(tmp_path / "a", "scored", [row(f"p{n}", improved_nll=float(n)) for n in range(1000)], part_rows=500)
    b = made_dataset(tmp_path / "b", "scored", [row(f"p{n}", improved_nll=float(n + 500)) for n in range(1000)], part_rows=500)
    (shift,) = (each for each in diff(a, b).shifts if each.name == "improved_nll")
    assert shift.a is not None
    assert shift.a.rows < 200
    assert shift.distance == pytest.approx(0.5, abs=0.15)
    assert ", of a sample" in shown(a.folder, b.folder)


def test_likelihoods_that_no_row_of_one_side_has_are_no_fault(tmp_path: Path) -> None:
    a = made_dataset(tmp_path / "a", "scored", [row("a", reference_nll=None)])
    b = made_dataset(tmp_path / "b", "scored", [row("a", reference_nll=9.0)])
    (shift,) = (each for each in diff(a, b).shifts if each.name == "reference_nll")
    assert (shift.a, shift.distance, shift.standardised) == (None, None, None)
    assert "no value" in shown(a.folder, b.folder)


def test_lines_tell_all_of_it(pair: tuple[Dataset, Dataset]) -> None:
    out = shown(pair[0].folder, pair[1].folder)
    for line in (
        "filtered: A has 4 rows, B has 4",
        f"  only in A            1  25.0 % of A, such as {prompt_id('a')} / 0",
        "  changed              2  66.7 % of both",
        "  improved 1 (33.3 %), dropped_by 1 (33.3 %), failed_rules 1 (33.3 %)",
        "  improved: one two three -> one 2 three",
    ):
        assert f"{line}\n" in out


def test_long_text_is_shown_word_by_word(tmp_path: Path) -> None:
    text = "an answer that goes on and on " * 20
    a = made_dataset(tmp_path / "a", "prompts", [row("a", reference=f"{text}with a red end")])
    b = made_dataset(tmp_path / "b", "prompts", [row("a", reference=f"{text}with a blue end")])
    out = " ".join(shown(a.folder, b.folder).split())
    assert "on with a [-red-]{+blue+} end" in out
    assert "…" in out


def test_other_space_between_the_same_words_is_no_difference_as_in_a_report(tmp_path: Path) -> None:
    words = "one two three " * 10
    a = made_dataset(tmp_path / "a", "filtered", [row("x", improved=words), row("y", improved=f"{words}four")])
    b = made_dataset(tmp_path / "b", "filtered", [row("x", improved=words.replace(" two", "\n\ntwo")), row("y", improved=f"{words}five")])
    text = shown(a.folder, b.folder)
    assert "improved: the same words, with other space between them" in text
    assert ("[-four-]" in text, "{+five+}" in text, text.count("[-")) == (True, True, 1)


@given(st.text(alphabet="ab \n.", max_size=30), st.text(alphabet="ab \n.", max_size=30))
def test_a_report_and_diff_mark_the_same_words(before: str, after: str) -> None:
    pieces = word_diff(before, after)
    old, new = sides(pieces)
    marked = [piece for piece in merged(pieces) if piece.kind != "same"]
    assert [piece for piece in marked if piece.kind == "removed"] == [piece for piece in old if piece.kind != "same"]
    assert [piece for piece in marked if piece.kind == "added"] == [piece for piece in new if piece.kind != "same"]


def test_json_has_every_text_whole_and_can_not_drive_the_terminal(tmp_path: Path) -> None:
    a = made_dataset(tmp_path / "a", "prompts", [row("a", reference="x")])
    b = made_dataset(tmp_path / "b", "prompts", [row("a", reference=HOSTILE * 40)])
    out = shown(a.folder, b.folder, "--json") + shown(a.folder, b.folder)
    assert not set(out) & {"\x1b", "\x07", "\x9b", "\u202e"}
    told = json.loads(out.partition("\n")[0])
    assert told["sample"][0]["after"] == {"reference": HOSTILE * 40}
    assert told["changed"] == 1


@pytest.mark.parametrize(
    ("before", "after", "pieces"),
    [
        ("a b c", "a x c", [("same", "a "), ("removed", "b"), ("added", "x"), ("same", " c")]),
        ("a b c d", "a x y d", [("same", "a "), ("removed", "b c"), ("added", "x y"), ("same", " d")]),
        ("", "new", [("added", "new")]),
        ("old", "", [("removed", "old")]),
        ("same", "same", [("same", "same")]),
    ],
)
def test_words_that_changed_are_marked(before: str, after: str, pieces: list[tuple[str, str]]) -> None:
    assert [(each.kind, each.text) for each in word_diff(before, after)] == pieces


@given(st.text(alphabet="ab \n.", max_size=30), st.text(alphabet="ab \n.", max_size=30))
def test_pieces_make_both_texts(before: str, after: str) -> None:
    pieces: tuple[Piece, ...] = word_diff(before, after)
    assert "".join(each.text for each in pieces if each.kind != "added") == before
    assert "".join(each.text for each in pieces if each.kind != "removed") == after
