"""Claims about plain lines of progress: speed and time left are those of the rows made since the first one."""

import logging

import pytest

from sgpo_data.progress import progress


def lines(reports: list[tuple[float, int, int]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is logged of 1000 rows, given the second, the rows there and the tokens of this session at each report."""
    clock = [0.0]
    monkeypatch.setattr("sgpo_data.progress.monotonic", lambda: clock[0])
    caplog.set_level(logging.INFO)
    with progress({"seed": 1000}, style="plain") as (report,):
        for clock[0], done, tokens in reports:
            report(done, tokens)
    return caplog.messages


def test_neither_loading_nor_rows_of_an_earlier_session_are_in_speed_and_time_left(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    # A model that loads for 60 seconds, 500 rows that were there, then 5 rows and 300 tokens a second.
    assert lines([(60, 500, 50), (61, 505, 350), (80, 600, 6050), (100, 700, 12050)], monkeypatch, caplog) == [
        "seed: 500 of 1000 rows",
        "seed: 600 of 1000 rows, 300 tokens/s, about 80 s left",
        "seed: 700 of 1000 rows, 300 tokens/s, about 60 s left",
    ]


def test_a_few_rows_tell_no_time_left(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert lines([(1, 1, 10), (11, 20, 1010), (21, 21, 2010)], monkeypatch, caplog) == [
        "seed: 20 of 1000 rows, 100 tokens/s",
        "seed: 21 of 1000 rows, 100 tokens/s, about 979 s left",
    ]
