"""The stream: items of a row-wise stage into a model and out into parts, with no pause between parts."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from time import monotonic
from typing import Protocol

from sgpo_data.engines import GenerateRequest, Generation, Generator, Key, Scored, Scorer, ScoreRequest
from sgpo_data.progress import Report
from sgpo_data.rows import Row
from sgpo_data.stages import GeneratingStage, RowStage, row_key
from sgpo_data.store.cost import FREE, Cost
from sgpo_data.store.dataset import part_rows
from sgpo_data.store.unfinished import Unfinished

Fill = Callable[[Iterable[Row]], Iterator[tuple[Row, Cost]]]
"""Items in, the same items filled out, in any order, each with what it has cost."""
Measure = Callable[[Iterable[Row], Scorer], Iterator[Row]]
"""Items in, the same items with what the scorer measures, in any order."""


class Filled(Protocol):
    """A dataset in the making that rows are put into; its folder may be here or on another machine."""

    accelerator: str | None
    """What the model that fills it runs on besides the processor, if anything."""

    @property
    def rows_done(self) -> int:
        """Rows that there are, of the parts that this process makes."""
        ...

    @property
    def session_tokens(self) -> int:
        """What the rows made in this session have cost."""
        ...

    def has(self, number: int) -> bool:
        """Whether this row was made already, or is for another process to make."""
        ...

    def add(self, number: int, row: Row, cost: Cost = FREE) -> None:
        """Takes a finished row."""
        ...

    def close_last(self, rows: int) -> None:
        """Closes the parts still open, now that the dataset is known to have this many rows."""
        ...


def stream(stage: RowStage, rows: Iterable[Row], into: Filled, *, author: str, opened: Callable[[], Fill], report: Report) -> None:
    """Makes every missing row; each one is safe as soon as it is finished.

    `opened` loads the model, and is called only if a row needs it. Memory holds the rows in flight and those of open parts.
    """
    numbers: dict[Key, int] = {}
    total = 0

    def items() -> Iterator[Row]:
        nonlocal total
        for row in rows:
            for item in stage.items(row):
                number, total = total, total + 1
                if into.has(number):
                    continue
                settled = stage.settled(item, author)
                if settled is None:
                    numbers[row_key(item)] = number
                    yield item
                else:
                    into.add(number, settled)

    waiting = items()
    first = next(waiting, None)
    if first is not None:
        for row, cost in opened()(chain([first], waiting)):
            into.add(numbers.pop(row_key(row)), row, cost)
            report(into.rows_done, into.session_tokens)
    into.close_last(total)


def generated(stage: GeneratingStage, generator: Generator, author: str) -> Fill:
    """Fills items with the answers of a model."""

    def fill(rows: Iterable[Row]) -> Iterator[tuple[Row, Cost]]:
        asked: dict[Key, Row] = {}

        def requests() -> Iterator[GenerateRequest]:
            for row in rows:
                asked[row_key(row)] = row
                yield stage.request(row)

        for answer in generator.generate(requests()):
            yield stage.answered(asked.pop(answer.key), answer, author), cost_of(answer)

    return fill


def measured(rows: Measure, scorer: Scorer) -> Fill:
    """Fills items with what a scorer measures; a row costs the answer tokens of all its requests."""

    def fill(items: Iterable[Row]) -> Iterator[tuple[Row, Cost]]:
        tokens: Counter[Key] = Counter()
        for row in rows(items, _Counting(scorer, tokens)):
            yield row, Cost(tokens.pop(row_key(row), 0))

    return fill


def cost_of(answer: Generation) -> Cost:
    """What an answer has cost."""
    return Cost(answer.tokens or 0, answer.retokenized)


class _Counting:
    """A scorer that counts the answer tokens of each row."""

    def __init__(self, scorer: Scorer, tokens: Counter[Key]) -> None:
        self._scorer = scorer
        self._tokens = tokens

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
        for result in self._scorer.score(requests):
            self._tokens[result.key[:2]] += sum(likelihood.tokens for likelihood in result.likelihoods)
            yield result

    def close(self) -> None:
        self._scorer.close()


@dataclass
class Lane:
    """A stage and the dataset it fills, with the rows that are under way; of two lanes, a row is under way in one at most."""

    stage: GeneratingStage
    into: Unfinished
    author: str
    report: Report
    asked: dict[Key, tuple[int, Row]] = field(default_factory=dict)

    def request(self, number: int, item: Row) -> GenerateRequest | None:
        """The request for the item of this number; None if its row exists, or needs no model and is finished now."""
        if self.into.has(number) or self.settled(number, item) is not None:
            return None
        self.asked[row_key(item)] = number, item
        return self.stage.request(item)

    def settled(self, number: int, item: Row) -> Row | None:
        """The finished row of an item that needs no model, already safe; None for any other."""
        row = self.stage.settled(item, self.author)
        if row is not None:
            self.into.add(number, row)
        return row

    def answered(self, answer: Generation) -> tuple[int, Row]:
        """The row of this answer with its number, already safe."""
        number, item = self.asked.pop(answer.key)
        row = self.stage.answered(item, answer, self.author)
        self.into.add(number, row, cost_of(answer))
        self.report(self.into.rows_done, self.into.session_tokens)
        return number, row


class Overlap:
    """A stage that makes rows and one that reads them row by row."""

    def __init__(self, first: Lane, second: Lane, rows: Iterable[Row], *, clock: Callable[[], float] = monotonic) -> None:
        self._first, self._second, self._clock = first, second, clock
        self._items = (item for row in rows for item in first.stage.items(row))
        self._ready: deque[tuple[int, Row]] = deque()
        """Rows of the first that the second has still to begin: at most the window of them, since they go before new ones."""

    def stream(self, opened: Callable[[], Generator], *, first_whole: Callable[[], None]) -> None:
        """Makes every missing row of both; each one is safe as soon as it is finished.

        `opened` loads the model, and is called only if a row needs it; `first_whole` is called as soon as the first dataset has all its rows.
        """
        requests = self._requests(first_whole)
        begin = next(requests, None)
        if begin is not None:
            last = self._clock()
            for answer in opened().generate(chain([begin], requests)):
                now = self._clock()
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
        """Stores the answer, and charges the time since the previous one."""
        if answer.key in self._first.asked:
            self._ready.append(self._first.answered(answer))
            self._second.into.shared_seconds += seconds
        else:
            self._second.answered(answer)
            self._first.into.shared_seconds += seconds


def _made(into: Unfinished) -> Iterator[tuple[int, Row]]:
    """The rows that earlier sessions have made, each with its number."""
    for whole in sorted(into.files):
        yield from enumerate(part_rows(into.folder / into.files[whole].name), whole * into.plan.part_rows)
    for part in into.open_parts.values():
        yield from part.rows.items()
