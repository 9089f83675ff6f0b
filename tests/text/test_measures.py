import random
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgpo_data.schema import schema
from sgpo_data.stages.improve.templates import wording_of
from sgpo_data.text.measures import LONGEST_EXACT, Measures, edit_distance, measures, repeats


def plain_levenshtein(before: list[str], after: list[str]) -> int:
    def next_line(line: list[int], item: tuple[int, str]) -> list[int]:
        at, word = item
        new = [at]
        for column, other in enumerate(after, 1):
            new.append(min(line[column] + 1, new[-1] + 1, line[column - 1] + (word != other)))
        return new

    return reduce(next_line, enumerate(before, 1), list(range(len(after) + 1)))[-1]


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_edit_distance_is_that_of_the_textbook(before: list[str], after: list[str]) -> None:
    assert edit_distance(before, after) == plain_levenshtein(before, after)


def test_edit_distance_of_very_long_texts_is_bounded_by_the_longer_one() -> None:
    draw = random.Random(0)
    before = [draw.choice("abcdefgh") for _ in range(3 * LONGEST_EXACT)]
    after = [*before[:-1], "z"]
    assert edit_distance(before, after) == 1
    assert edit_distance(before, ["x"] * (2 * LONGEST_EXACT)) == len(before)
    assert edit_distance(["a"] * len(before), []) == len(before)


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("a b c", 0), ("a b c d", 0), ("a a a a", 0), ("a a a a a", 1), ("a b c d a b c d", 1), ("a b c d e a b c d e", 2), (" ".join("a" * 100), 96)],
)
def test_repeats_counts_four_grams_that_stood_before(text: str, count: int) -> None:
    assert repeats(text.split()) == count


def measured(response: str | None, improved: str | None, reference: str | None) -> Measures:
    return measures(response, improved, reference, prompt=["What sat?"], wording=wording_of(()))


def test_measures_of_a_row_worked_out_by_hand() -> None:
    assert measured("The cat sat.", "The black cat sat down.", "A cat sat.") == Measures(
        response_words=4,
        improved_words=6,
        reference_words=4,
        edited_words=2,
        reference_edited_words=3,
        response_repeats=0,
        improved_repeats=0,
        residue=None,
    )


def test_measures_of_absent_texts_are_none() -> None:
    absent = measured("a b", None, None)
    assert {name for name, value in absent.items() if value is not None} == {"response_words", "response_repeats"}
    assert set(measured(None, None, None).values()) == {None}
    assert measured("", "", "")["edited_words"] == 0


def test_residue_of_the_response_comes_before_that_of_the_improved_answer() -> None:
    assert measured("a</s>", "b<|im_end|>", "c[INST]")["residue"] == "</s>"
    assert measured("a", "b<|im_end|>", "c[INST]")["residue"] == "<|im_end|>"
    assert measured("a", "b", "c[INST]")["residue"] is None


def test_measures_are_columns_of_scored() -> None:
    own = [column for column in schema("scored").column_names if column in Measures.__annotations__]
    assert own == list(Measures.__annotations__)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a.",
        " ",
        "\n",
        "\n!",
        "### ",
        "\n### Draft ",
        "<|",
        "[",
        "here is the ",
        "the draft ",
        "the draft",
        "I made a minor ",
        "rewrite the draft so ",
        "<a",
        "\n** a ",
        "\n#",
        "\na ",
        "I have improved the a ",
        "中",
        "e\u0301",
        "\u0301",
        "👍\ufe0f",
    ],
)
def test_hostile_text_is_measured(unit: str) -> None:
    text = (unit * (200_000 // len(unit))) + "answer"
    columns = measured(text, text[::-1], None)
    assert columns["edited_words"] is not None
    assert columns["edited_words"] <= max(columns["response_words"] or 0, columns["improved_words"] or 0)
