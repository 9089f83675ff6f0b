"""A first look at a dataset, as lines or as JSON."""

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from sgpo_data.analysis.look import ColumnLook, Look, Quantiles, is_conversation, look
from sgpo_data.schema import schema
from sgpo_data.store.dataset import Dataset

from .closed_pipe import closed_pipe_allowed
from .formats import json_value
from .printable import cut, printable, printable_json

WIDEST = 120
TEXT_LINES = 6
"""Of a text that is all that is shown."""
SAMPLE_LINES = 3
"""Of each text of a sample row."""
TEXT_CHARACTERS = 4000
VALUE_CHARACTERS = 60
ANSWERS = ("reference", "rejected", "response", "improved")
"""Text columns that are shown at length; other text is a name or a digest."""


def show(dataset: Dataset, *, rows: int, seed: int, whole: bool, as_json: bool) -> None:
    """Prints what the dataset holds, with that many sample rows; a column is a line and a text a few, unless all of it is to be shown."""
    found = look(dataset, sample_rows=rows, seed=seed)
    with closed_pipe_allowed():
        if as_json:
            print(printable_json(json.dumps(json_value(_whole(dataset, found)))))
            return
        # Text of rows can hold what the locale cannot print.
        out = sys.stdout.buffer
        width = max(min(shutil.get_terminal_size((WIDEST, 40)).columns, WIDEST), 40)
        for line in _lines(dataset, found, width, whole=whole):
            out.write(line.rstrip().encode(errors="replace") + b"\n")
        out.flush()


def _whole(dataset: Dataset, found: Look) -> dict[str, object]:
    manifest = dataset.manifest.model_dump(mode="json", exclude={"files", "identity", "versions", "host"})
    identity = dataset.manifest.identity
    models = {role: record.identity for role, record in identity.models.items()}
    comment = schema(dataset.table).comment
    return {"reference": dataset.reference, **manifest, "comment": comment, "stage": identity.stage, "models": models, **asdict(found)}


def _lines(dataset: Dataset, found: Look, width: int, *, whole: bool) -> Iterator[str]:
    yield from wrapped(f"{dataset.table}: {schema(dataset.table).comment}", width)
    for name, value in _header(dataset):
        yield from wrapped(f"{name:<14}{printable(value)}", width, indent=16, first=2)
    estimated = "" if found.exact else ", estimated"
    yield f"\ncolumns (numbers, and characters of texts: least, 5 %, 50 %, 95 %, greatest{estimated})"
    if not whole:
        yield "  --whole tells what each of them means, and shows texts uncut"
    margin = max(len(column.name) for column in found.columns)
    yield from _whole_columns(found, margin, width) if whole else _columns(found, margin, width)
    if found.perplexities:
        yield f"\nperplexities (least, 5 %, 50 %, 95 %, greatest{estimated})"
        for each in found.perplexities:
            formula = f"  {each.formula}" if whole else ""
            yield from wrapped(f"{each.name:<{margin}}  {numbers(each.quantiles)}{formula}", width, indent=margin + 4, first=2)
    if found.reasons:
        yield "\nreasons"
        for name, counts in found.reasons.items():
            yield from wrapped(f"{name:<{margin}}  {_shares(counts, found.rows)}", width, indent=margin + 4, first=2)
    for number, row in enumerate(found.sample, 1):
        yield f"\nsample row {number} of {len(found.sample)}"
        yield from _row(row, dataset.table, width, lines=None if whole else SAMPLE_LINES)


def _header(dataset: Dataset) -> Iterator[tuple[str, str]]:
    manifest = dataset.manifest
    yield "folder", str(dataset.folder)
    if dataset.place is not None:
        yield "fetched from", dataset.place
    yield "stage", manifest.identity.stage
    yield "made from", ", ".join(f"{record.reference} ({record.made_name})" for record in manifest.identity.inputs) or "nothing"
    yield "fingerprint", manifest.fingerprint + ("" if manifest.deterministic else " (the same recipe, not always the same text)")
    yield "rows", f"{manifest.rows} from {manifest.rows_in} in"
    if manifest.outcomes:
        yield "outcomes", _shares(manifest.outcomes, manifest.rows)
    for role, record in manifest.identity.models.items():
        yield role, f"{record.identity} ({record.location})" + ("" if record.verifiable else ", cannot be verified")
    if manifest.facts:
        yield "facts", ", ".join(f"{name} {value:.6g}" for name, value in manifest.facts.items())
    speed = f", {manifest.tokens} tokens, {manifest.tokens / max(manifest.seconds, 1e-3):.0f} tokens/s" if manifest.tokens else ""
    yield "made", f"{manifest.created:%Y-%m-%d %H:%M} UTC in {manifest.seconds:.1f} s{speed}"
    for warning in manifest.warnings:
        yield "warning", warning


def _columns(found: Look, margin: int, width: int) -> Iterator[str]:
    """A line for each column with a value, then the names of the others."""
    empty = [column.name for column in found.columns if found.rows and column.nulls == found.rows]
    for column in found.columns:
        if column.name not in empty:
            short = re.sub(r"\(.*\)", "", column.sql_type)
            yield cut(f"  {column.name:<{margin}}  {short:<9}{_values(column, found.rows)}", width)
    yield from wrapped(f"null in every row: {', '.join(empty)}", width, indent=4, first=2) if empty else ()


def _whole_columns(found: Look, margin: int, width: int) -> Iterator[str]:
    """Each column with what it means."""
    for column in found.columns:
        yield from wrapped(f"{column.name:<{margin}}  {column.sql_type}  {_values(column, found.rows)}", width, indent=margin + 4, first=2)
        yield from wrapped(column.comment or "", width, indent=margin + 6, first=margin + 6)


def _values(column: ColumnLook, rows: int) -> str:
    told = []
    if column.nulls:
        told.append(f"{share(column.nulls, rows)} null")
    if column.quantiles:
        told.append(numbers(column.quantiles))
    if column.characters:
        told.append(f"characters {numbers(column.characters)}")
    return "  ".join(told)


def _row(row: Mapping[str, object], table: str, width: int, *, lines: int | None) -> Iterator[str]:
    """Conversations and answers at length, the rest in one paragraph."""
    short = []
    for column in schema(table).columns:
        value = row[column.name]
        if is_conversation(column) and isinstance(value, list):
            for turn in value:
                yield from text_lines(f"{column.name} / {turn['role']}", str(turn["content"]), width, lines=lines)
        elif column.name in ANSWERS and isinstance(value, str):
            yield from text_lines(column.name, value, width, lines=lines)
        elif value is not None:
            shown = f"{value:.6g}" if isinstance(value, float) else str(value)
            short.append(f"{column.name}={printable(cut(shown, VALUE_CHARACTERS))}")
    yield from wrapped("  ".join(short), width, indent=2, first=2)


def text_lines(label: str, text: str, width: int, *, lines: int | None = TEXT_LINES) -> Iterator[str]:
    """A text under its label, in so many lines of this width; None is no limit."""
    # Rich counts the cells of a line, which are two for a character of some scripts.
    page = Console(width=width - 4)
    paragraphs = (Text(printable(part.replace("\t", "    "))) for part in (text if lines is None else text[:TEXT_CHARACTERS]).split("\n"))
    shown = [line.plain for paragraph in paragraphs for line in paragraph.wrap(page, page.width)]
    more = lines is not None and (len(text) > TEXT_CHARACTERS or len(shown) > lines)
    yield f"  {printable(label)} ({len(text)} characters{', cut' if more else ''})"
    yield from (f"    {line}" for line in shown[:lines])


def wrapped(text: str, width: int, *, indent: int = 0, first: int = 0) -> list[str]:
    """A paragraph in lines of this width."""
    return textwrap.wrap(
        text, width, initial_indent=" " * first, subsequent_indent=" " * min(indent, width // 2), replace_whitespace=False, drop_whitespace=True
    )


def numbers(quantiles: Quantiles | None) -> str:
    """Quantiles, each as short as it is told apart."""
    return "no value" if quantiles is None else " ".join(f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}" for value in quantiles)


def _shares(counts: Mapping[str, int], rows: int) -> str:
    return ", ".join(f"{printable(cut(value, VALUE_CHARACTERS))} {count} ({share(count, rows)})" for value, count in counts.items())


def share(count: int, rows: int) -> str:
    """A count as percent of all rows."""
    return f"{100 * count / max(rows, 1):.1f} %"
