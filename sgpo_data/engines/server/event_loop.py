"""Coroutines from code that has no event loop: a loop in a thread of its own, and a bounded stream of results out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from sgpo_data.waiting import take, wait_for

A = TypeVar("A")
R = TypeVar("R")


class EventLoop:
    """An event loop in a thread that ends with `close`, or with the process."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[None, None, R]) -> R:
        """What the coroutine returns or raises."""
        return wait_for(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    def results(self, ask: Callable[[A], Coroutine[None, None, R]], items: Iterable[A | None], *, window: int) -> Iterator[R]:
        """What `ask` gives for each item, in the order in which they finish; at most `window` items are drawn and not yet yielded.

        None among the items says that there is none until the next result. The first exception ends it; what is under way then, or when the iterator
        is closed, is cancelled.
        """
        source = iter(items)
        finished: SimpleQueue[Future[R]] = SimpleQueue()
        running: set[Future[R]] = set()
        try:
            while True:
                while len(running) < window and (item := next(source, None)) is not None:
                    future = asyncio.run_coroutine_threadsafe(ask(item), self._loop)
                    running.add(future)
                    future.add_done_callback(finished.put)
                if not running:
                    return
                done = take(finished)
                running.remove(done)
                yield done.result()
        finally:
            for future in running:
                future.cancel()

    def close(self, last: Callable[[], Coroutine[None, None, None]]) -> None:
        """Cancels what is under way, runs `last`, and ends the thread."""
        self.run(self._settled())
        self.run(last())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _settled(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
