"""Several sources of one phase: which prompts of each, in which order, and under which identity."""

import json
import logging
from pathlib import Path
from typing import cast

import pytest
from pydantic import ValidationError

from sgpo_data.errors import RecipeError, SchemaError
from sgpo_data.execution import Execution
from sgpo_data.rows import Row
from sgpo_data.sources.options import Source
from sgpo_data.sources.picking import quotas
from sgpo_data.sources.prompts import PromptsJob, read_prompts
from sgpo_data.sources.source import open_source


def written(path: Path, *prompts: str, answer: str | None = None) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"prompt": prompt, "answer": answer}) + "\n" for prompt in prompts))
    return str(path)


def read(reference: str, *more: str, **options: object) -> list[Row]:
    batches = open_source(reference, Source.model_validate({**options, "more": more})).batches()
    return [row for batch in batches for row in cast(list[Row], batch.to_pylist())]


def texts(rows: list[Row]) -> list[str]:
    return [row["messages"][-1]["content"] for row in rows]


def numbers(letter: str, count: int) -> list[str]:
    return [f"{letter}{number}" for number in range(count)]


def test_sources_follow_one_another_and_each_row_knows_its_own(tmp_path: Path) -> None:
    a, b = written(tmp_path / "a.jsonl", "one"), written(tmp_path / "b/x.jsonl", "two")
    c = written(tmp_path / "c/x.jsonl", "three")
    rows = read(a, str(tmp_path / "b"), f"{c}?name=mine")
    assert [(text, row["source"]) for text, row in zip(texts(rows), rows, strict=True)] == [("one", "a.jsonl"), ("two", "b/x.jsonl"), ("three", "mine")]
    assert b


def test_a_prompt_of_several_sources_is_of_the_first_and_counted(tmp_path: Path) -> None:
    a, b = written(tmp_path / "a.jsonl", "hi", answer="yo"), written(tmp_path / "b.jsonl", "ho", "hi", "hi", answer="yo")
    assert [(row["source"], row["count"]) for row in read(a, b)] == [("a.jsonl", 3), ("b.jsonl", 1)]
    assert [(row["source"], row["count"]) for row in read(b, a)] == [("b.jsonl", 1), ("b.jsonl", 3)]
    # What the first source holds does not come out of the limit of the second.
    assert texts(read(a, f"{b}?limit=1")) == ["hi", "ho"]


@pytest.mark.parametrize("seed", [None, 7])
def test_each_source_has_its_own_limit_and_offset(seed: int | None, tmp_path: Path) -> None:
    a, b = written(tmp_path / "a.jsonl", *numbers("a", 50)), written(tmp_path / "b.jsonl", *numbers("b", 50))
    first, rest = (read(a, f"{b}?limit=20&offset={offset}", limit=limit, shuffle_seed=seed) for offset, limit in ((0, 10), (20, 5)))
    of_each = [[text for text in texts(first) if text[0] == letter] for letter in "ab"]
    assert [len(each) for each in of_each] == [10, 20]
    assert not set(of_each[1]) & set(texts(rest))
    assert (seed is None) == (texts(first) == numbers("a", 10) + numbers("b", 20))


def test_shares_take_as_many_as_the_smallest_source_allows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    a, b, c = (written(tmp_path / f"{letter}.jsonl", *numbers(letter, count)) for letter, count in (("a", 100), ("b", 12), ("c", 100)))
    rows = texts(read(a, f"{b}?share=0.3", f"{c}?share=0.2", share=0.5, shuffle_seed=1))
    assert [sum(text[0] == letter for text in rows) for letter in "abc"] == [20, 12, 8]
    assert "prompts of each source, in their order: 20, 12, 8" in caplog.text
    with pytest.raises(RecipeError, match=r"source\.share: the sources have 100, 0 prompts, too few for one of each in these shares"):
        read(a, f"{b}?share=0.3&offset=12", share=0.7)


@pytest.mark.parametrize(
    ("total", "shares", "wanted"),
    [(10, [0.7, 0.3], [7, 3]), (10, [1 / 3, 1 / 3, 1 / 3], [4, 3, 3]), (1, [0.5, 0.5], [1, 0]), (1000, [0.001, 0.999], [1, 999]), (7, [0.1, 0.9], [1, 6])],
)
def test_quotas_add_up_to_the_total(total: int, shares: list[float], wanted: list[int]) -> None:
    assert quotas(total, shares) == wanted
    assert sum(wanted) == total


def test_what_is_said_once_holds_for_every_source(tmp_path: Path) -> None:
    a, b = written(tmp_path / "a.jsonl", *numbers("a", 100)), written(tmp_path / "b.jsonl", *numbers("b", 100))
    held_out = texts(read(a, b, held_out=0.2, take="held_out"))
    assert {text[0] for text in held_out} == {"a", "b"}
    assert sorted(held_out + texts(read(a, b, held_out=0.2))) == sorted(numbers("a", 100) + numbers("b", 100))
    evaluation = written(tmp_path / "e.jsonl", "a1", "b2")
    assert {row["messages"][0]["content"] for row in read(a, b, decontaminate=[evaluation]) if row["contaminated_by"]} == {"a1", "b2"}


def test_a_source_is_strict_and_of_a_shape_by_itself(tmp_path: Path) -> None:
    a = written(tmp_path / "a.jsonl", "hi")
    (tmp_path / "b.jsonl").write_text('{"question": "ho", "q": 1}\noops\n{"question": "ha"}\n')
    (tmp_path / "c.csv").write_text("text\nhu\n")
    others = [str(tmp_path / "b.jsonl"), f"{tmp_path / 'c.csv'}?columns=prompt=text"]
    made = read_prompts(a, Source(more=tuple(others)), Execution(root=tmp_path / "runs"))
    assert [row[0]["content"] for row in made.scan().collect()["messages"].to_list()] == ["hi", "ho", "ha", "hu"]
    assert "1 row left out: 1 not JSON (first: b.jsonl, line 2" in made.manifest.warnings[0]
    with pytest.raises(SchemaError, match=r"b\.jsonl, line 2: not JSON"):
        read(a, f"{others[0]}?strict=true")


def test_two_sources_of_one_name_are_told_apart_or_refused(tmp_path: Path) -> None:
    a, b = written(tmp_path / "a/x.jsonl", "hi"), written(tmp_path / "b/x.jsonl", "ho")
    with pytest.raises(RecipeError, match=r"two sources are called x\.jsonl, and rows would not tell them apart; give it another with name"):
        read(a, b)
    assert [row["source"] for row in read(a, f"{b}?name=b")] == ["x.jsonl", "b"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"share": 0.5, "more": ["b.jsonl"]}, "share stands in one source and not in another"),
        ({"more": ["b.jsonl?share=0.5"]}, "share stands in one source and not in another"),
        ({"share": 0.5, "more": ["b.jsonl?share=0.4"]}, "add up to 0.9; make it 1"),
        ({"share": 0.5, "limit": 3}, "limit and share both say"),
        ({"more": ["b.jsonl?share=2"]}, "less than 1"),
        ({"more": ["b.jsonl?held_out=0.1"]}, "no option held_out"),
    ],
)
def test_shares_and_options_that_make_no_sense_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Source.model_validate(options)


def test_a_share_of_one_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"source\.share is for several sources \(got 0\.5\); set source\.limit, or add a source"):
        read(written(tmp_path / "a.jsonl", "hi"), share=0.5)


def test_identity_follows_every_source_and_its_options_and_one_source_is_what_it_was(tmp_path: Path) -> None:
    a, b = written(tmp_path / "x.jsonl", "hi"), written(tmp_path / "y.jsonl", "ho")

    def fingerprint(reference: str, *more: str, **options: object) -> str:
        return PromptsJob(open_source(reference, Source.model_validate({**options, "more": more}))).identity.fingerprint

    found = [fingerprint(a), fingerprint(a, b), fingerprint(b, a), fingerprint(a, f"{b}?limit=1"), fingerprint(a, f"{b}?name=z"), fingerprint(a, b, limit=1)]
    assert len(set(found)) == len(found)
    before = fingerprint(a, b)
    (tmp_path / "far").mkdir()
    moved = (tmp_path / "y.jsonl").rename(tmp_path / "far/y.jsonl")
    assert fingerprint(a, str(moved)) == before
    # One source alone has nothing of several: this changes with the revision of prompts, and with nothing else.
    (tmp_path / "x.jsonl").write_text('{"prompt": "hi"}\n')
    assert fingerprint(a) == "b02c0c6bba8bd3ba73d537b66ea56ae8497c520897b5a8458aab3093b4fea0e8"
