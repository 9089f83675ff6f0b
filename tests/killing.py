"""Running a command that is stopped or killed once it has asked its model for so much, and what that leaves."""

import math
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from warm import WarmProcess

COUNTED = Path(__file__).with_name("counted_sgpo.py")
MARK = "SGPO_TEST_MARK"
SECONDS = 20
"""The most that a process may outlive the one that started it."""


def counted(counts: Path, *words: str) -> list[str]:
    """The command that writes a line to `counts` for every request."""
    return [str(COUNTED), str(counts), *words]


def ended(command: Sequence[str], counts: Path, *, after: int | None, by: signal.Signals = signal.SIGKILL) -> tuple[int, str]:
    """Exit status and standard error of the command, which gets the signal once `after` more requests are drawn; None lets it end by itself.

    As from a terminal, Ctrl-C goes to all its processes. None of them may be left.
    """
    before, mark = lines(counts), f"{os.getpid()}-{time.monotonic_ns()}"
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said, Path(os.devnull).open("r+b") as nothing:
        process = WarmProcess(command, [nothing.fileno(), nothing.fileno(), said.fileno()], {**os.environ, MARK: mark})
        while after is not None and process.poll() is None:
            if lines(counts) - before >= after:
                os.kill(process.pid, by) if by == signal.SIGKILL else os.killpg(process.pid, by)
                break
            time.sleep(0.002)
        status = process.wait()
        deadline = time.monotonic() + SECONDS
        while left := descendants(process.pid, mark):
            assert time.monotonic() < deadline, f"left behind: {left}"
            time.sleep(0.01)
        said.seek(0)
        return status, said.read()


def descendants(leader: int, mark: str) -> list[str]:
    """Command lines of the processes in this session, or with this mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == leader or f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def assert_equal(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """The same rows, but for the last digits of likelihoods."""
    assert found.height == expected.height
    assert found.columns == expected.columns
    for column in expected.columns:
        if expected.schema[column] == pl.Float64:
            for ours, theirs in zip(found[column], expected[column], strict=True):
                assert ours == theirs or math.isclose(ours, theirs, rel_tol=1e-4, abs_tol=1e-4), column
        else:
            assert found[column].to_list() == expected[column].to_list(), column
