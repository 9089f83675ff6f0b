"""Progress of long work: a bar on a terminal, plain lines elsewhere, on standard error."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from sgpo_data.interruption import interruptible
from sgpo_data.status import StageStatus, update_status

log = logging.getLogger(__name__)
LINE_SECONDS = 10.0
STATUS_SECONDS = 1.0
TELLING_ROWS = 20
"""Rows after which their speed tells how long the rest will take."""

Report = Callable[[int, int], None]
"""Called with rows done in all, and tokens of this session."""


@contextmanager
def progress(rows: Mapping[str, int], *, style: Literal["auto", "bar", "plain", "none"], status: Path | None = None) -> Iterator[list[Report]]:
    """Shows how far each work is on its way to its number of rows, with tokens per second and the time left; `status` is a file that keeps the same.

    A report, or the end, raises KeyboardInterrupt if Ctrl-C was heard and lost since the last one.
    """
    with interruptible() as raise_again, _shown(rows, style) as reports:
        told = reports if status is None else _Kept(status, rows).beside(reports)
        yield [_checking(raise_again, report) for report in told]


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


@dataclass
class _Pace:
    """Speeds of a work since its first report: loading the model, and what an earlier session made, tell nothing of what is left."""

    rows: int
    first: tuple[int, int, float] | None = None
    """Rows and tokens at the first report, and when it came."""

    def now(self, done: int, tokens: int) -> tuple[float | None, float | None, float | None]:
        """Rows and tokens per second, and seconds left; None where nothing tells."""
        now = monotonic()
        if self.first is None:
            self.first = done, tokens, now
        rows, sampled, since = self.first
        if now <= since:
            return None, None, None
        left = (self.rows - done) * (now - since) / (done - rows) if done - rows >= TELLING_ROWS else None
        return (done - rows) / (now - since), (tokens - sampled) / (now - since), left


class _Lines:
    """One line now and then, for logs."""

    def __init__(self, what: str, rows: int) -> None:
        self.what = what
        self.rows = rows
        self.last = monotonic()
        self.pace = _Pace(rows)

    def report(self, done: int, tokens: int) -> None:
        """Logs a line if the last one is long enough ago."""
        _, speed, left = self.pace.now(done, tokens)
        if monotonic() - self.last < LINE_SECONDS:
            return
        self.last = monotonic()
        speed_text = "" if speed is None else f", {speed:.0f} tokens/s"
        left_text = "" if left is None else f", about {left:.0f} s left"
        log.info("%s: %d of %d rows%s%s", self.what, done, self.rows, speed_text, left_text)


class _Kept:
    """A file that is written now and then, for monitors."""

    def __init__(self, path: Path, rows: Mapping[str, int]) -> None:
        self.path = path
        self.paces = {what: _Pace(total) for what, total in rows.items()}
        self.stages: dict[str, StageStatus] = {what: {"stage": what, "rows_done": 0, "rows": total} for what, total in rows.items()}
        self.last = 0.0

    def beside(self, reports: Sequence[Report]) -> list[Report]:
        """The reports, each kept too."""
        return [partial(self._report, what, report) for what, report in zip(self.paces, reports, strict=True)]

    def _report(self, what: str, shown: Report, done: int, tokens: int) -> None:
        shown(done, tokens)
        pace = self.paces[what]
        rows, speed, left = (None if number is None else round(number, 3) for number in pace.now(done, tokens))
        self.stages[what] = {
            "stage": what, "rows_done": done, "rows": pace.rows, "rows_per_second": rows, "tokens_per_second": speed, "seconds_left": left,
        }  # fmt: skip
        if monotonic() - self.last >= STATUS_SECONDS or done >= pace.rows:
            self.last = monotonic()
            update_status(self.path, list(self.stages.values()))
