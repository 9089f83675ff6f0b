"""The shell of sgpo sql, with its keys typed into a pipe; at the end once at a terminal."""

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from literal_rows import row
from made import made_dataset
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from sgpo_data.cli.asking.completion import Completions, SqlCompleter
from sgpo_data.cli.asking.interruptible import Interruptible
from sgpo_data.cli.asking.shell import COMMANDS, is_whole, shell

from sgpo_data.query.catalog import catalog
from sgpo_data.schema import schema

ENTER, CTRL_C, CTRL_D, UP = "\r", "\x03", "\x04", "\x1b[A"


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Interruptible]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    dataset = made_dataset(tmp_path / "r", "responses", [row("a"), row("b", response="two")])
    with Interruptible.over(catalog([str(dataset.folder)], root=tmp_path).connect()) as running:
        yield running


def typed(running: Interruptible, keys: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text(keys + CTRL_D)
        shell(running, unsafe=False, limit=None)
    out, err = capsys.readouterr()
    return out, err.partition("\n")[2]


def test_query_of_several_lines_ends_with_its_semicolon(running: Interruptible, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = typed(running, f"SELECT count(*) AS n{ENTER}FROM responses;{ENTER}", capsys)
    assert out.splitlines()[1:4:2] == ["│ n │", "│ 2 │"]
    assert err == ""


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("SELECT 1;", True),
        ("SELECT 1 ; ", True),
        ("SELECT 1", False),
        ("SELECT 'a;", False),
        ("SELECT 1 /* ;", False),
        ("SELEC 1;", True),
        (".tables", True),
        ("", True),
    ],
)
def test_semicolon_of_a_string_or_comment_ends_no_query(text: str, whole: bool) -> None:
    assert is_whole(text) is whole


def test_mistake_is_told_with_its_place_and_the_shell_goes_on(running: Interruptible, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = typed(running, f"SELECT finsh FROM responses;{ENTER}.tabels{ENTER}DROP VIEW responses;{ENTER}SELECT 7 AS n;{ENTER}", capsys)
    assert [line.partition(";")[0].partition(" not found")[0] for line in err.splitlines()] == [
        'sql: Binder Error: Referenced column "finsh"',
        "  SELECT finsh FROM responses",
        "         ^^^^^",
        f"  responses has {', '.join(schema('responses').column_names)}",
        ".tabels: no such command",
        "sql: DROP is not possible, sql only reads",
    ]
    assert "│ 7 │" in out


def test_ctrl_c_at_the_prompt_forgets_the_line(running: Interruptible, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = typed(running, f"SELECT nonsense{CTRL_C}SELECT 7 AS n;{ENTER}", capsys)
    assert "│ 7 │" in out
    assert err == ""


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (".tables", "│ responses │ responses │    2 │"),
        (".schema responses", "sampled_nll"),
        (".macros", "perplexity(nll, tokens)"),
        (".examples", "waterfall"),
        (".examples repeated_answers", "HAVING rows > 1"),
        (".help", ".schema"),
    ],
)
def test_command_tells(command: str, told: str, running: Interruptible, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = typed(running, f"{command}{ENTER}", capsys)
    assert told in out
    assert err == ""


def test_variable_is_set_for_the_queries_that_follow(running: Interruptible, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = typed(running, f".set prompt_id x y{ENTER}SELECT getvariable('prompt_id') AS v;{ENTER}", capsys)
    assert "│ x y │" in out


def test_history_is_kept_in_the_state_folder(running: Interruptible, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    typed(running, f"SELECT 41 + 1 AS n;{ENTER}", capsys)
    assert "SELECT 41 + 1 AS n;" in (tmp_path / "state" / "sgpo" / "sql_history").read_text()
    out, _ = typed(running, f"{UP}{ENTER}", capsys)
    assert "│ 42 │" in out


def completed(running: Interruptible, text: str) -> list[str]:
    found = SqlCompleter(Completions.of(running.con), COMMANDS).get_completions(Document(text), CompleteEvent())
    return [each.text for each in found]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("SELECT * FROM resp", "responses"),
        ("SELECT samp", "sample"),
        ("SELECT responses.fin", "finish"),
        ("SELECT perpl", "perplexity"),
        ("SEL", "SELECT"),
        (".sch", ".schema"),
        (".schema man", "manifests"),
    ],
)
def test_word_is_completed_by_what_can_stand_there(text: str, first: str, running: Interruptible) -> None:
    assert completed(running, text)[0] == first


class Terminal:
    """A terminal at which somebody sits, seen from the other side of its screen."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.unread = b""

    def wait_for(self, wanted: str, *, key: str = "") -> None:
        """Reads up to this text, and presses a key whenever nothing comes for a second."""
        for _ in range(200):
            _, found, rest = self.unread.partition(wanted.encode())
            if found:
                self.unread = rest
                return
            if select.select([self.end], [], [], 1)[0]:
                self.unread += os.read(self.end, 4096)
            elif key:
                self.press(key)
        raise AssertionError(self.unread)

    def press(self, keys: str) -> None:
        os.write(self.end, keys.encode())


def test_ctrl_c_stops_the_query_and_keeps_the_shell(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "r", "responses", [row("a")])
    end, other = pty.openpty()
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    command = [sys.executable, "-c", "from sgpo_data.cli.main import main; main()", "sql", str(dataset.folder)]
    process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=environment, start_new_session=True, preexec_fn=controlling)
    os.close(other)
    terminal = Terminal(end)
    try:
        terminal.wait_for("sgpo>")
        terminal.press(f"SELECT count(*) FROM range(100000000) a, range(1000000) b WHERE a.range + b.range = -5;{ENTER}")
        # A key that comes before the query has started is one of the line; only a later one stops the query.
        terminal.wait_for("stopped", key=CTRL_C)
        terminal.wait_for("sgpo>")
        terminal.press(f"SELECT 6 * 7 AS n;{ENTER}")
        terminal.wait_for("│ 42 │")
        terminal.wait_for("sgpo>")
        terminal.press(CTRL_D)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(end)


def controlling() -> None:
    """Makes the terminal on standard input the one that sends the signals."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
