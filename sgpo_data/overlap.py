"""Two stages of one model as one stream: the second starts on a row as soon as the first has filled it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from time import monotonic

from sgpo_data.dataset import part_rows
from sgpo_data.engines import GenerateRequest, Generation, Generator, Key
from sgpo_data.progress import Report
from sgpo_data.rows import Row
from sgpo_data.stages import GeneratingStage, row_key
from sgpo_data.unfinished import Unfinished


@dataclass
class Lane:
    """A stage and the dataset it fills, with the rows that are under way; of two lanes, a row is under way in one at most."""

    stage: GeneratingStage
    into: Unfinished
    author: str
    report: Report
    asked: dict[Key, tuple[int, Row]] = field(default_factory=dict)

    def request(self, number: int, item: Row) -> GenerateRequest | None:
        """What to ask for the item of this number; None if it is there, or is settled now."""
        if self.into.has(number) or self.settled(number, item) is not None:
            return None
        self.asked[row_key(item)] = number, item
        return self.stage.request(item)

    def settled(self, number: int, item: Row) -> Row | None:
        """The finished row of an item that needs no model, safe from here on."""
        row = self.stage.settled(item, self.author)
        if row is not None:
            self.into.add(number, row)
        return row

    def answered(self, answer: Generation) -> tuple[int, Row]:
        """The row of this answer with its number, safe from here on."""
        number, item = self.asked.pop(answer.key)
        row = self.stage.answered(item, answer, self.author)
        self.into.tokens += answer.tokens or 0
        self.into.add(number, row)
        self.report(self.into.rows_done, self.into.tokens)
        return number, row


class Overlap:
    """A stage that makes rows and one that reads them row by row."""

    def __init__(self, first: Lane, second: Lane, rows: Iterable[Row]) -> None:
        self._first, self._second = first, second
        self._items = (item for row in rows for item in first.stage.items(row))
        self._ready: deque[tuple[int, Row]] = deque()
        """Rows of the first that the second has still to begin: at most the window of them, since they go before new ones."""

    def stream(self, opened: Callable[[], Generator], *, first_whole: Callable[[], None]) -> None:
        """Makes every row of both that is not there yet; a finished one is safe at once.

        `opened` loads the model, and is called only if a row needs it; `first_whole` is called as soon as the first dataset has all its rows.
        """
        requests = self._requests(first_whole)
        begin = next(requests, None)
        if begin is not None:
            last = monotonic()
            for answer in opened().generate(chain([begin], requests)):
                now = monotonic()
                self._take(answer, seconds=now - last)
                last = now
        self._second.into.close_last(self._first.into.rows_done)

    def _requests(self, first_whole: Callable[[], None]) -> Iterator[GenerateRequest | None]:
        yield from self._of_second(_made(self._first.into))
        rows = 0
        for rows, item in enumerate(self._items, 1):
            yield from self._of_second(self._waiting())
            if self._first.into.has(rows - 1):
                continue
            settled = self._first.settled(rows - 1, item)
            if settled is not None:
                self._ready.append((rows - 1, settled))
            elif (request := self._first.request(rows - 1, item)) is not None:
                yield request
        while self._first.asked:
            yield from self._of_second(self._waiting())
            if self._first.asked and not self._ready:
                yield None
        self._first.into.close_last(rows)
        first_whole()
        yield from self._of_second(self._waiting())

    def _of_second(self, rows: Iterable[tuple[int, Row]]) -> Iterator[GenerateRequest]:
        for number, row in rows:
            (item,) = self._second.stage.items(row)
            if (request := self._second.request(number, item)) is not None:
                yield request

    def _waiting(self) -> Iterator[tuple[int, Row]]:
        while self._ready:
            yield self._ready.popleft()

    def _take(self, answer: Generation, *, seconds: float) -> None:
        """Files the answer, and what it took since the one before."""
        if answer.key in self._first.asked:
            self._ready.append(self._first.answered(answer))
            self._second.into.shared_seconds += seconds
        else:
            self._second.answered(answer)
            self._first.into.shared_seconds += seconds


def _made(into: Unfinished) -> Iterator[tuple[int, Row]]:
    """The rows that earlier sessions have made, each with its number."""
    for part in sorted(into.files):
        yield from enumerate(part_rows(into.folder / into.files[part].name), part * into.plan.part_rows)
    for rows in into.open_parts.values():
        yield from rows.items()
