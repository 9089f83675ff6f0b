"""Waits that Ctrl-C ends, whatever was imported."""

from concurrent.futures import Future, wait
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")

LONGEST_SECONDS = 600.0
"""Polars 2.1 takes Ctrl-C over when it is imported, and its handler restarts a wait that has no end, so that nothing hears it; one that has an end is left."""


def wait_for(future: Future[T]) -> T:
    """What the future comes to: returned or raised."""
    while not wait([future], LONGEST_SECONDS).done:
        pass
    return future.result()


def take(queue: SimpleQueue[T]) -> T:
    """The next of the queue, as soon as there is one."""
    while True:
        with suppress(Empty):
            return queue.get(timeout=LONGEST_SECONDS)
