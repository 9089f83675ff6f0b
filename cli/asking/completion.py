"""Completion in the shell: views, their columns, macros, functions and keywords, with what each means."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import duckdb
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

WORD = re.compile(r"[A-Za-z_]\w*")
AFTER_TABLE_KEYWORD = re.compile(r"\b(?:from|join|describe|summarize)\s+\w*$", re.IGNORECASE)
OF_VIEW = re.compile(r"(\w+)\.\w*$")

_COLUMNS = """
SELECT table_name, column_name, any_value(data_type) AS data_type, any_value(columns.comment) AS meaning
FROM duckdb_columns() AS known LEFT JOIN columns ON columns."view" = table_name AND columns."column" = column_name
WHERE NOT known.internal
GROUP BY table_name, column_name
ORDER BY table_name, min(column_index)
"""
_FUNCTIONS = """
SELECT function_name, any_value(array_to_string(parameters, ', ')), any_value(comment)
FROM duckdb_functions()
WHERE regexp_full_match(function_name, '[a-z_][a-z0-9_]*') AND NOT starts_with(function_name, '_') AND function_type IN ('scalar', 'aggregate', 'macro')
GROUP BY function_name
ORDER BY function_name
"""


@dataclass(frozen=True)
class Completions:
    """What can be typed in a query of this connection, each with what is told beside it."""

    columns: Mapping[str, Mapping[str, str]]
    """By view."""
    functions: Mapping[str, str]
    keywords: tuple[str, ...]

    @classmethod
    def of(cls, con: duckdb.DuckDBPyConnection) -> "Completions":
        """All of it, as it is now."""
        columns: dict[str, dict[str, str]] = {}
        for view, name, sql_type, comment in con.execute(_COLUMNS).fetchall():
            columns.setdefault(view, {})[name] = f"{sql_type}  {comment or ''}".strip()
        functions = {name: f"({parameters or ''})  {comment or ''}".strip() for name, parameters, comment in con.execute(_FUNCTIONS).fetchall()}
        keywords = tuple(
            word.upper() for (word,) in con.execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category != 'unreserved'").fetchall()
        )
        return cls(columns, functions, keywords)


class SqlCompleter(Completer):
    """Completes the word before the cursor: after FROM a view, after `view.` a column of it, after a dot at the start a command of the shell."""

    def __init__(self, known: Completions, commands: Mapping[str, str]) -> None:
        self.known = known
        self.commands = commands

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """The candidates that begin with what is typed, capitals or not."""
        before = document.text_before_cursor
        if re.fullmatch(r"\s*\.\w*", before):
            yield from _matching(before.lstrip(), self.commands)
            return
        word = (re.search(r"\w*$", before) or [""])[0]
        of_view = OF_VIEW.search(before)
        if re.match(r"\s*\.schema\s", before) or AFTER_TABLE_KEYWORD.search(before):
            yield from _matching(word, dict.fromkeys(sorted(self.known.columns), "view"))
        elif of_view is not None:
            yield from _matching(word, self.known.columns.get(of_view[1]) or self._all_columns(document.text))
        elif word:
            yield from _matching(word, self._all_columns(document.text))
            yield from _matching(word, dict.fromkeys(sorted(self.known.columns), "view"))
            yield from _matching(word, dict(sorted(self.known.functions.items())))
            yield from _matching(word, dict.fromkeys(self.known.keywords, ""))

    def _all_columns(self, query: str) -> dict[str, str]:
        """Columns of the views that the query names, of all views if it names none."""
        named = set(WORD.findall(query)) & self.known.columns.keys() or self.known.columns.keys()
        return {name: about for view in sorted(named) for name, about in self.known.columns[view].items()}


def _matching(typed: str, candidates: Mapping[str, str]) -> Iterable[Completion]:
    for name, about in candidates.items():
        if name.lower().startswith(typed.lower()):
            yield Completion(name, start_position=-len(typed), display_meta=about)
