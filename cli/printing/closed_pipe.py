"""A reader that has seen enough, such as head, is no error."""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def closed_pipe_allowed() -> Iterator[None]:
    """Ends what is inside once nobody reads its output; what comes after goes on, and prints into nothing."""
    try:
        yield
    except BrokenPipeError:
        # Of another pipe, such as that of a process of ours, it is an error.
        if not _unread():
            raise
        _silence()
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _silence()


def _unread() -> bool:
    """Whether nobody reads standard output any more."""
    waiting = select.poll()
    waiting.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in waiting.poll(0))


def _silence() -> None:
    # What is still buffered would raise again when Python exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
