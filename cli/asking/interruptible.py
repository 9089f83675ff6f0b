"""Steps of a query that Ctrl-C stops, each run beside the main thread, which alone hears it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Self, TypeVar

import duckdb
import pyarrow as pa

from sgpo_data.query.sandbox import query_error
from sgpo_data.waiting import wait_for

T = TypeVar("T")


class Interruptible:
    """A connection and the thread that uses it."""

    def __init__(self, con: duckdb.DuckDBPyConnection, worker: ThreadPoolExecutor) -> None:
        self.con = con
        self.worker = worker

    @classmethod
    @contextmanager
    def over(cls, con: duckdb.DuckDBPyConnection) -> Iterator[Self]:
        """This connection, closed at the end."""
        try:
            with ThreadPoolExecutor(1) as worker:
                yield cls(con, worker)
        finally:
            con.close()

    def result(self, step: Callable[[], T]) -> T:
        """What the step gives.

        Raises QueryError with DuckDB's words; KeyboardInterrupt once the query is told to stop.
        """
        try:
            return wait_for(self.worker.submit(step))
        except KeyboardInterrupt:
            self._stop()
            raise
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise query_error(error, self.con, "") from error

    def _stop(self) -> None:
        """Ends the step that runs, or is about to: Ctrl-C may have come when it was begun and not waited for yet."""
        behind = self.worker.submit(int)
        # A query that is about to start does not hear the first call.
        while not behind.done():
            self.con.interrupt()
            wait([behind], timeout=0.1)

    def batches(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        """The rows, as they are read."""

        def following() -> pa.RecordBatch | None:
            return next(reader, None)

        while (batch := self.result(following)) is not None:
            yield batch
