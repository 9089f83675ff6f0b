"""A dataset as a notebook shows it: what it is, what became of its rows, and the first of them."""

from collections.abc import Iterable, Iterator
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from sgpo_data.errors import DatasetError
from sgpo_data.printable import printable
from sgpo_data.store.manifest import Manifest

if TYPE_CHECKING:
    from sgpo_data.rows import Row

ROWS = 3
CHARACTERS = 160
TEXTS = ("messages", "prompt", "reference", "response", "improved", "chosen", "rejected", "completion", "dropped_by", "verdict")
"""Columns that are read first; the others are numbers and names."""


def dataset_html(manifest: Manifest, reference: str, rows: "Iterator[Row]") -> str:
    """One fragment: every text of the data is escaped, so that what a model wrote can run nothing."""
    outcomes = ", ".join(f"{_text(name)} {count}" for name, count in manifest.outcomes.items())
    head = f"<p><b>{manifest.rows} rows of {manifest.table}</b> <code>{_text(reference)}</code><br>{outcomes}</p>"
    try:
        first = list(islice(rows, ROWS))
    except DatasetError as error:
        return f"{head}<p>{_text(str(error))}</p>"
    names = [name for name in TEXTS if first and name in first[0]]
    return head + (f"<table>{_line('th', names)}{''.join(_body(first, names))}</table>" if names else "")


def _body(rows: "Iterable[Row]", names: list[str]) -> Iterator[str]:
    for row in rows:
        values = {**row}
        yield _line("td", [_shown(values.get(name)) for name in names])


def _shown(value: object) -> str:
    """A text, or the last turn of a conversation, cut."""
    if isinstance(value, list):
        value = value[-1]["content"] if value else ""
    text = "" if value is None else str(value)
    return text if len(text) <= CHARACTERS else text[: CHARACTERS - 1] + "…"


def _line(tag: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f'<{tag} style="text-align: left; vertical-align: top">{_text(cell)}</{tag}>' for cell in cells) + "</tr>"


def _text(text: str) -> str:
    return escape(printable(text))
