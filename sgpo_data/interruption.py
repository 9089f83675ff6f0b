"""No signal that is to stop a command is lost: one that came where Python drops what is raised is raised again at the next safe place."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Raises KeyboardInterrupt at the latest at its end if Ctrl-C was heard inside; what it gives raises it sooner, between two steps of work.

    Python prints and drops whatever is raised in a destructor or a callback of C, and a training makes thousands of either.
    Signals are heard by the main thread alone; elsewhere, and for a signal that has no handler of Python's, this does nothing.
    """
    signals: list[int] = []

    def raise_again() -> None:
        if signals:
            raise KeyboardInterrupt

    handlers = {number: signal.getsignal(number) for number in STOPPING} if threading.current_thread() is threading.main_thread() else {}

    def hear(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        handler = handlers[signal.Signals(number)]
        assert callable(handler)
        handler(number, frame)

    replaced = [number for number, handler in handlers.items() if callable(handler)]
    for number in replaced:
        signal.signal(number, hear)
    try:
        yield raise_again
    finally:
        for number in replaced:
            signal.signal(number, handlers[number])
    raise_again()
