"""Progress of long work: a bar on a terminal, plain lines elsewhere, on standard error."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from sgpo_data.interruption import interruptible

log = logging.getLogger(__name__)
LINE_SECONDS = 10.0
TELLING_ROWS = 20
"""Rows after which their speed tells how long the rest will take."""

Report = Callable[[int, int], None]
"""Called with rows done in all, and tokens of this session."""


@contextmanager
def progress(rows: Mapping[str, int], *, style: Literal["auto", "bar", "plain", "none"]) -> Iterator[list[Report]]:
    """Shows how far each work is on its way to its number of rows, with tokens per second and the time left.

    A report, or the end, raises KeyboardInterrupt if Ctrl-C was heard and lost since the last one.
    """
    with interruptible() as raise_again, _shown(rows, style) as reports:
        yield [_checking(raise_again, report) for report in reports]


def _checking(raise_again: Callable[[], None], report: Report) -> Report:
    def checked(done: int, tokens: int) -> None:
        raise_again()
        report(done, tokens)

    return checked


@contextmanager
def _shown(rows: Mapping[str, int], style: Literal["auto", "bar", "plain", "none"]) -> Iterator[list[Report]]:
    if style == "auto":
        style = "bar" if sys.stderr.isatty() else "plain"
    if style == "bar":
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"), _TokenSpeed(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            yield [_reports_to(bars, bars.add_task(what, total=total, tokens=0)) for what, total in rows.items()]
    elif style == "plain":
        yield [_Lines(what, total).report for what, total in rows.items()]
    else:
        yield [lambda done, tokens: None for _ in rows]


def _reports_to(bars: Progress, bar: TaskID) -> Report:
    return lambda done, tokens: bars.update(bar, completed=done, tokens=tokens)


class _TokenSpeed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.fields['tokens'] / max(task.elapsed or 0.0, 0.1):,.0f} tokens/s")


class _Lines:
    """One line now and then, for logs."""

    def __init__(self, what: str, rows: int) -> None:
        self.what = what
        self.rows = rows
        self.last = monotonic()
        self.first: tuple[int, int, float] | None = None
        """Rows and tokens at the first report, and when it came: loading the model, and what an earlier session made, tell nothing of what is left."""

    def report(self, done: int, tokens: int) -> None:
        """Logs a line if the last one is long enough ago."""
        now = monotonic()
        if self.first is None:
            self.first = done, tokens, now
        if now - self.last < LINE_SECONDS:
            return
        self.last = now
        rows, sampled, since = self.first
        speed = f", {(tokens - sampled) / (now - since):.0f} tokens/s" if now > since else ""
        left = f", about {(self.rows - done) * (now - since) / (done - rows):.0f} s left" if done - rows >= TELLING_ROWS else ""
        log.info("%s: %d of %d rows%s%s", self.what, done, self.rows, speed, left)
