"""Ctrl-C in the moments in which a query is neither waited for nor over."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sgpo_data.cli.asking.interruptible import Interruptible

from sgpo_data.connection import connected

ENDLESS = "SELECT count(*) FROM range(100000000) a, range(1000000) b WHERE a.range + b.range = -5"


class InterruptedWorker(ThreadPoolExecutor):
    """Ctrl-C comes when the first step has been begun."""

    begun = 0

    def submit(self, step: Callable[..., Any], /, *given: object, **named: object) -> Future[Any]:
        future = super().submit(step, *given, **named)
        self.begun += 1
        if self.begun == 1:
            raise KeyboardInterrupt
        return future


def test_a_query_that_was_begun_and_not_waited_for_is_stopped() -> None:
    con = connected()
    worker = InterruptedWorker(1)
    try:
        with pytest.raises(KeyboardInterrupt):
            Interruptible(con, worker).result(lambda: con.execute(ENDLESS).fetchall())
        assert worker.submit(int).result(timeout=10) == 0
    finally:
        con.interrupt()
        worker.shutdown()
