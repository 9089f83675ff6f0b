"""The shell of sgpo sql: queries in many lines, completed, remembered and stopped."""

import io
import os
import pydoc
import shutil
import sys
from pathlib import Path

import duckdb
from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer

from sgpo_data.connection import quoted
from sgpo_data.errors import SgpoError, UsageError
from sgpo_data.query.examples import example

from ..printing.formats import Format
from .completion import Completions, SqlCompleter
from .interruptible import Interruptible
from .rows import list_examples, write_answer

SHELL_ROWS = 1000
COMMANDS = {
    ".tables": "the views, with their rows",
    ".schema": "the columns of a view: .schema VIEW",
    ".macros": "the macros that come along",
    ".examples": "the queries that come along; .examples NAME asks one",
    ".set": "a text a query gets with getvariable('NAME'): .set NAME VALUE",
    ".help": "this",
    ".quit": "leaves, as Ctrl-D does",
}
HELP = "A query ends with a semicolon, and can have many lines. Tab completes, Ctrl-R searches the history, Ctrl-C stops a query, Ctrl-D leaves."

_TABLES = 'SELECT name, "table", manifests.rows FROM (SHOW TABLES) LEFT JOIN manifests ON manifests."view" = name ORDER BY name'
_SCHEMA = """
SELECT column_name AS "column", column_type AS type, "comment"
FROM (DESCRIBE {view}) LEFT JOIN columns ON columns."view" = {text} AND columns."column" = column_name
"""
_MACROS = """
SELECT format('{}({})', function_name, array_to_string(parameters, ', ')) AS macro, "comment"
FROM duckdb_functions() WHERE NOT internal ORDER BY macro
"""


def shell(running: Interruptible, *, unsafe: bool, limit: int | None) -> None:
    """Asks what is typed until the input ends."""
    session: PromptSession[str] = PromptSession(
        "sgpo> ",
        history=_history(),
        completer=SqlCompleter(Completions.of(running.con), COMMANDS),
        complete_while_typing=False,
        lexer=PygmentsLexer(SqlLexer),
        multiline=Condition(lambda: not is_whole(get_app().current_buffer.text)),
        prompt_continuation=lambda width, number, wrapped: "...> ".rjust(width),
    )
    print(f"{'All of DuckDB is open. ' if unsafe else ''}{HELP} .help tells more.", file=sys.stderr)
    while True:
        try:
            text = session.prompt().strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text in (".quit", ".exit"):
            return
        try:
            _take(running, text, unsafe=unsafe, limit=SHELL_ROWS if limit is None else limit or None)
        except (SgpoError, duckdb.Error) as error:
            print(error, file=sys.stderr)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)


def is_whole(text: str) -> bool:
    """Whether Enter asks what is typed: a command of the shell, or a query up to a semicolon that no string or comment holds."""
    stripped = text.strip()
    if not stripped or stripped.startswith("."):
        return True
    if not stripped.endswith(";"):
        return False
    try:
        duckdb.extract_statements(text)
    except duckdb.ParserException as error:
        # Any other mistake is told when the query is asked.
        return "unterminated" not in str(error)
    return True


def _take(running: Interruptible, text: str, *, unsafe: bool, limit: int | None) -> None:
    if not text.startswith("."):
        if text.rstrip(";").strip():
            _show(running, text, unsafe=unsafe, limit=limit)
        return
    command, _, rest = text.partition(" ")
    argument = rest.strip().rstrip(";")
    if command == ".tables":
        _show(running, _TABLES, unsafe=False, limit=None)
    elif command == ".schema" and argument:
        escaped = argument.replace("'", "''")
        _show(running, _SCHEMA.format(view=quoted(argument), text=f"'{escaped}'"), unsafe=False, limit=None)
    elif command == ".macros":
        _show(running, _MACROS, unsafe=False, limit=None)
    elif command == ".examples" and argument:
        query = example(argument).query
        print(query)
        _show(running, query, unsafe=False, limit=limit)
    elif command == ".examples":
        list_examples()
    elif command == ".set" and len(argument.split(None, 1)) == 2:
        name, value = argument.split(None, 1)
        running.con.execute(f"SET VARIABLE {quoted(name)} = ?", [value])
    elif command == ".help":
        print("\n".join([HELP, *(f"{name:<10} {about}" for name, about in COMMANDS.items())]))
    else:
        raise UsageError(f"{text}: no such command; .help tells which there are")


def _show(running: Interruptible, query: str, *, unsafe: bool, limit: int | None) -> None:
    """Prints a table, a page at a time if it is longer than the terminal."""
    page = io.BytesIO()
    write_answer(running, query, Format.TABLE, page, limit=limit, unsafe=unsafe)
    text = page.getvalue().decode()
    if sys.stdout.isatty() and text.count("\n") >= shutil.get_terminal_size().lines:
        os.environ.setdefault("LESS", "-FRSX")
        pydoc.pager(text)
    else:
        print(text, end="", flush=True)


def _history() -> History:
    """In the user's state folder; in memory where that cannot be written."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "sgpo"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "sql_history").open("a"):
            return FileHistory(str(folder / "sql_history"))
    except (OSError, RuntimeError):
        return InMemoryHistory()
