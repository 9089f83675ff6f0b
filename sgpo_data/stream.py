"""The stream: items of a row-wise stage into a model and out into parts, with no pause between parts."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from sgpo_data.engines import GenerateRequest, Generation, Generator, Key, Scored, Scorer, ScoreRequest
from sgpo_data.progress import Report
from sgpo_data.rows import Row
from sgpo_data.stages import RowStage, row_key
from sgpo_data.unfinished import Unfinished

Fill = Callable[[Iterable[Row]], Iterator[Row]]
"""Items in, the same items filled out, in any order."""


def stream(stage: RowStage, rows: Iterable[Row], into: Unfinished, *, author: str, opened: Callable[[], Fill], report: Report) -> None:
    """Makes every row that is not there yet; a finished one is safe at once.

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
        for row in opened()(chain([first], waiting)):
            into.add(numbers.pop(row_key(row)), row)
            report(into.rows_done, into.tokens)
    into.close_last(total)


class CountedGenerator:
    """A generator whose tokens count towards the dataset being made."""

    def __init__(self, generator: Generator, into: Unfinished) -> None:
        self._generator = generator
        self._into = into

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        """As the generator's own."""
        for result in self._generator.generate(requests):
            self._into.tokens += result.tokens or 0
            yield result

    def close(self) -> None:
        """As the generator's own."""
        self._generator.close()


class CountedScorer:
    """A scorer whose answer tokens count towards the dataset being made."""

    def __init__(self, scorer: Scorer, into: Unfinished) -> None:
        self._scorer = scorer
        self._into = into

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
        """As the scorer's own."""
        for result in self._scorer.score(requests):
            self._into.tokens += sum(likelihood.tokens for likelihood in result.likelihoods)
            yield result

    def close(self) -> None:
        """As the scorer's own."""
        self._scorer.close()
