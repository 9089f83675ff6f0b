"""What sets two datasets apart, as lines or as JSON."""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from sgpo_data.analysis.diff import ChangedRow, Diff, diff
from sgpo_data.analysis.shift import Shift, Side
from sgpo_data.store.dataset import Dataset
from sgpo_data.text.word_diff import Piece, merged, word_diff

from .closed_pipe import closed_pipe_allowed
from .formats import json_value
from .look import WIDEST, numbers, share, text_lines, wrapped
from .printable import cut, printable, printable_json

CONTEXT = 60
"""Characters of unchanged text that are shown on either side of a change."""
VALUE_CHARACTERS = 60
LINE_CHARACTERS = 240
MOST = 20
"""Shifts and moves that are shown; --json has all."""
MARKS = {"same": ("", ""), "removed": ("[-", "-]"), "added": ("{+", "+}")}


def show(a: Dataset, b: Dataset, *, rows: int, seed: int, as_json: bool) -> None:
    """Prints what sets `b` apart from `a`."""
    found = diff(a, b, sample_rows=rows, seed=seed)
    with closed_pipe_allowed():
        if as_json:
            print(printable_json(json.dumps(json_value({"a": str(a.folder), "b": str(b.folder), **asdict(found)}))))
            return
        width = max(min(shutil.get_terminal_size((WIDEST, 40)).columns, WIDEST), 40)
        out = sys.stdout.buffer
        for line in _lines(a, b, found, width):
            out.write(line.rstrip().encode(errors="replace") + b"\n")
        out.flush()


def _lines(a: Dataset, b: Dataset, found: Diff, width: int) -> Iterator[str]:
    yield f"{found.table}: A has {found.rows_a} rows, B has {found.rows_b}"
    yield from wrapped(f"A  {a.folder} ({a.manifest.fingerprint[:8]})", width, indent=5, first=2)
    yield from wrapped(f"B  {b.folder} ({b.manifest.fingerprint[:8]})", width, indent=5, first=2)
    yield "\nrecipe (A -> B)" if found.identity else "\nrecipe: the same"
    for line in found.identity:
        yield from wrapped(printable(cut(line, LINE_CHARACTERS)), width, indent=4, first=2)
    yield from _rows(found, width)
    if found.moves:
        yield "\nmoves (A -> B)"
        for move in found.moves[:MOST]:
            yield f"  {move.column:<16}{printable(cut(move.before, 24)):>24} -> {printable(cut(move.after, 24)):<24}{move.rows:>10}"
        yield from _left_out(found.moves)
    shifted = [shift for shift in found.shifts if shift.distance != 0]
    if shifted:
        sampled = ", of a sample" if shifted[0].sampled else ""
        yield f"\nshifts (distance of the distributions, difference of means in standard deviations; least, 5 %, 50 %, 95 %, greatest{sampled})"
        margin = max(len(shift.name) for shift in shifted[:MOST])
        for shift in shifted[:MOST]:
            yield from _shift(shift, margin)
        yield from _left_out(shifted)
    for number, row in enumerate(found.sample, 1):
        yield f"\nchanged row {number} of {len(found.sample)}: {_key(row.key)}"
        yield from _changed(row, width)


def _rows(found: Diff, width: int) -> Iterator[str]:
    yield "\nrows"
    both = found.same + found.changed
    if not both and found.rows_a and found.rows_b:
        yield "  none is in both: these are answers to other prompts"
    yield f"  only in A   {found.only_a:>10}  {share(found.only_a, found.rows_a)} of A{_some(found.only_a_keys)}"
    yield f"  only in B   {found.only_b:>10}  {share(found.only_b, found.rows_b)} of B{_some(found.only_b_keys)}"
    yield f"  changed     {found.changed:>10}  {share(found.changed, both)} of both"
    yield f"  the same    {found.same:>10}"
    for names, side in ((found.columns_only_a, "A"), (found.columns_only_b, "B")):
        if names:
            yield from wrapped(f"columns of {side} alone, of another version of the schema: {', '.join(names)}", width, indent=4, first=2)
    if found.columns:
        yield "\nchanged columns (rows)"
        told = (f"{name} {rows} ({share(rows, both)})" for name, rows in found.columns.items())
        yield from wrapped(", ".join(told), width, indent=2, first=2)


def _shift(shift: Shift, margin: int) -> Iterator[str]:
    distance = "-" if shift.distance is None else f"{shift.distance:.3f}"
    means = "-" if shift.standardised is None else f"{shift.standardised:+.2f}"
    yield f"  {shift.name:<{margin}}  {distance:>6} {means:>6}   A {_side(shift.a)}"
    yield f"  {'':<{margin}}  {'':>6} {'':>6}   B {_side(shift.b)}"


def _side(side: Side | None) -> str:
    return numbers(None if side is None else side.quantiles)


def _changed(row: ChangedRow, width: int) -> Iterator[str]:
    for name, before in row.before.items():
        after = row.after[name]
        if isinstance(before, str) and isinstance(after, str) and max(len(before), len(after)) > VALUE_CHARACTERS:
            pieces = merged(word_diff(before, after))
            if all(piece.kind == "same" for piece in pieces):
                yield f"  {name}: the same words, with other space between them"
            else:
                yield from text_lines(name, "".join(_marked(pieces)), width)
        else:
            told, then = _value(before), _value(after)
            # Two numbers that look alike are told by all their digits.
            told, then = (told, then) if told != then else (cut(str(before), VALUE_CHARACTERS), cut(str(after), VALUE_CHARACTERS))
            yield from wrapped(f"{name}: {told} -> {then}", width, indent=4, first=2)


def _marked(pieces: Sequence[Piece]) -> Iterator[str]:
    """The pieces with marks around what changed; long stretches that stayed are cut in their middle."""
    for piece in pieces:
        left, right = MARKS[piece.kind]
        long = piece.kind == "same" and len(piece.text) > 3 * CONTEXT
        yield left + (f"{piece.text[:CONTEXT]} … {piece.text[-CONTEXT:]}" if long else piece.text) + right


def _value(value: object) -> str:
    shown = "null" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return printable(cut(shown, VALUE_CHARACTERS))


def _some(keys: Sequence[Mapping[str, object]]) -> str:
    return f", such as {_key(keys[0])}" if keys else ""


def _key(key: Mapping[str, object]) -> str:
    return " / ".join(printable(str(value)) for value in key.values())


def _left_out(found: Sequence[object]) -> Iterator[str]:
    if len(found) > MOST:
        yield f"  and {len(found) - MOST} more; --json has all"
