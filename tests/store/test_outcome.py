"""Claims about the line that tells what became of the rows of a dataset."""

import logging
from pathlib import Path

import pytest
from literal_rows import row
from made import made_dataset

DROPPED: dict[str, object] = {"dropped_by": "finished", "failed_rules": ["finished"]}
CHANGED: dict[str, object] = {"dropped_by": "changed", "failed_rules": ["changed"]}
CASES: dict[str, tuple[str, list[dict[str, object]], str]] = {
    "filtered": (
        "filtered",
        [
            {},
            *[{"finish": "length", "improved_finish": "length", **DROPPED}] * 3,
            *[{"improved_finish": "length", **DROPPED}] * 2,
            {"residue": "### Draft", **DROPPED},
            *[CHANGED] * 2,
        ],
        "9 rows of filtered (kept 1, dropped 8: 6 not finished (3 responses cut at max_tokens (or the context's end), raise it; "
        "2 rewrites cut at max_tokens (or the context's end), raise it; 1 rewrite with text of the template), 2 by changed)",
    ),
    "all kept": ("filtered", [{}, {}], "2 rows of filtered (kept 2, dropped 0)"),
    "responses": ("responses", [{}, {}, {"finish": "length"}], "3 rows of responses (2 finished; 1 cut at max_tokens (or the context's end), raise it)"),
    "responses of which some have nothing to be held against": (
        "responses",
        [{}, {"reference": None}, {"reference": None, "finish": "empty"}],
        "3 rows of responses (2 finished; 1 empty; 2 without a reference)",
    ),
    "prompts without references": ("prompts", [{"reference": None}] * 3, "3 rows of prompts (3 row; 3 without a reference)"),
    "prompts with references": ("prompts", [{}, {}], "2 rows of prompts (2 row)"),
    "none": ("filtered", [], "0 rows of filtered (kept 0, dropped 0)"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_line_of_a_dataset_says_why_rows_are_lost_and_what_to_raise(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table, given, line = CASES[name]
    with caplog.at_level(logging.INFO):
        made_dataset(tmp_path / "made", table, [row(str(at), **each) for at, each in enumerate(given)])
    assert line in caplog.text
