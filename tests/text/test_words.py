"""Claims about what a word is: the same whether it is listed, counted, compared or part of an n-gram."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgpo_data.text.word_diff import word_diff
from sgpo_data.text.words import TERM, count_words, spaced_words, words

ASSIGNED = st.characters(exclude_categories=("Cs", "Cn"))
"""Python and Polars are of different versions of Unicode, and what is a letter in one may be nothing in the other."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        ("Two words.", ["Two", "words", "."]),
        ("don't", ["don", "'", "t"]),
        ("snake_case x2 3.14", ["snake_case", "x2", "3", ".", "14"]),
        ("élan cafe\u0301 ño", ["élan", "cafe\u0301", "ño"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("한국어 단어", ["한국어", "단어"]),
        ("中文abc字", ["中", "文", "abc", "字"]),
        ("カナ、かな", ["カ", "ナ", "、", "か", "な"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("ok 👍🏽!", ["ok", "👍", "🏽", "!"]),
        ("a\u0000b", ["a", "\u0000", "b"]),
    ],
)
def test_words_are_runs_of_spaced_scripts_and_single_characters_of_others(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_ascii_text_has_the_same_words_beside_other_text() -> None:
    text = "It's 3.5 <b>x_1</b>, isn't it? (yes) -- [ok]\r\n"
    assert words(text + "é")[:-1] == words(text)


@given(st.text(max_size=60))
def test_words_leave_out_nothing_but_white_space(text: str) -> None:
    assert "".join(words(text)) == "".join(text.split())


@given(st.text(max_size=60))
def test_words_and_the_space_between_them_are_the_text(text: str) -> None:
    assert "".join(spaced_words(text)) == text
    assert [each for each in spaced_words(text) if not each.isspace()] == words(text)


@settings(deadline=None)
@given(st.lists(st.text(ASSIGNED, max_size=40), min_size=1, max_size=20))
def test_as_many_words_are_counted_as_are_listed(texts: list[str]) -> None:
    assert pl.DataFrame({"text": texts}).select(count_words(pl.col("text")))["text"].to_list() == [len(words(text)) for text in texts]


@pytest.mark.parametrize("text", ["It's 3.5 <b>x</b>, isn't it?", "élan cafe\u0301 ño", "हिन्दी भाषा।", "中文abc字。", "カナ、かな", "ที่นี่", "m² и ½"])
def test_terms_of_n_grams_are_the_words_with_a_letter_or_a_digit(text: str) -> None:
    terms = pl.DataFrame({"text": [text]}).select(pl.col("text").str.extract_all(TERM))["text"].to_list()[0]
    assert terms == [word for word in words(text) if word[0].isalnum()]


def test_what_changed_in_a_text_of_a_megabyte_is_marked() -> None:
    before = "我喜欢红茶。" * 60_000
    after = f"{before[:90_000]}绿{before[90_001:]}"
    pieces = word_diff(before, after)
    assert [piece.text for piece in pieces if piece.kind == "added"] == ["绿"]
    assert "".join(piece.text for piece in pieces if piece.kind != "added") == before


@pytest.mark.parametrize(
    ("before", "after", "removed", "added"),
    [("我喜欢红茶", "我喜欢绿茶", ["红"], ["绿"]), ("हिन्दी भाषा", "हिन्दी लिपि", ["भाषा"], ["लिपि"]), ("ที่นี่ดี", "ที่นี่งาม", ["ดี"], ["งาม"])],
)
def test_what_changed_is_marked_by_the_words_that_are_counted(before: str, after: str, removed: list[str], added: list[str]) -> None:
    pieces = word_diff(before, after)
    assert ([piece.text for piece in pieces if piece.kind == "removed"], [piece.text for piece in pieces if piece.kind == "added"]) == (removed, added)
