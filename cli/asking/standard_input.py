"""Rows that come through standard input, kept in a file for as long as they are asked."""

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import NamedTemporaryFile

from sgpo_data.errors import UsageError
from sgpo_data.query.catalog import NAMED, file_function

from ..references import typed

ROWS = re.compile(r"-\.\w+(\.\w+)?")


@contextmanager
def replace_dash(references: Sequence[str]) -> Iterator[list[str]]:
    """The references, with `-` as the one that standard input ends with, and `name=-.csv` and its like as a file of what it holds.

    Raises UsageError if two want it, or if it is no format that is read.
    """
    parts = [(named.group(1), named.group(2)) if (named := NAMED.fullmatch(each)) else (None, each) for each in references]
    wanting = [place for place, (name, value) in enumerate(parts) if value == "-" or (name and ROWS.fullmatch(value))]
    if len(wanting) > 1:
        raise UsageError(f"{references[wanting[1]]}: standard input is {references[wanting[0]]} already; it can be one thing only")
    found = list(references)
    if not wanting:
        yield found
        return
    (place,) = wanting
    name, value = parts[place]
    if value == "-":
        found[place] = typed("-") if name is None else f"{name}={typed('-')}"
        yield found
        return
    if file_function(value) is None:
        raise UsageError(f"{value}: no format that is read; there are NAME=-.parquet, -.csv, -.jsonl and -.json")
    with NamedTemporaryFile(prefix="sgpo-", suffix=value.removeprefix("-")) as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        found[place] = f"{name}={file.name}"
        yield found
