"""A copy of a model in a process of its own, which answers the process that started it and ends with it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeVar, cast

from sgpo_data.engines import GenerateRequest, Generation, Scored, ScoreRequest
from sgpo_data.engines.copies.messages import Begin, Close, End, Failed, Opening, Ready, Reply, Request, Result
from sgpo_data.engines.opening import open_engine, scorer_of
from sgpo_data.errors import SgpoError

if TYPE_CHECKING:
    from sgpo_data.engines.opening import LocalEngine

R = TypeVar("R", GenerateRequest, ScoreRequest)


class _Closed(Exception):  # noqa: N818 - it is no error
    """The copy is told to end."""


class Replica:
    """Streams that are asked for over a pipe, one after the other."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._asked: SimpleQueue[Request] = SimpleQueue()
        self._under_way = 0

    def serve(self, opening: Opening) -> None:
        """Loads the model and answers until it is told to close."""
        # Whoever asks is never kept waiting, so that no two of us wait for each other with full pipes.
        Thread(target=self._listen, daemon=True).start()
        try:
            engine = open_engine(opening.loading, opening.folder, adapter=opening.adapter, how=opening.how)
            try:
                self._say(Ready(engine.accelerator))
                while True:
                    self._stream(engine)
            finally:
                engine.close()
        except _Closed:
            return
        except SgpoError as error:
            self._say(Failed(error))

    def _listen(self) -> None:
        while True:
            try:
                self._asked.put(self._pipe.recv())
            except (EOFError, OSError):
                # Killed or not, nobody is there to answer any more, and the device must be free for what comes next.
                os._exit(1)

    def _stream(self, engine: LocalEngine) -> None:
        begin = self._next()
        assert isinstance(begin, Begin)
        results: Iterable[Generation] | Iterable[Scored]
        if begin.work == "generate":
            results = engine.generate(self._requests(GenerateRequest, waits=False))
        else:
            results = scorer_of(engine).score(cast("Iterator[ScoreRequest]", self._requests(ScoreRequest, waits=True)))
        for result in results:
            self._under_way -= 1
            self._say(Result(begin.stream, result))

    def _requests(self, kind: type[R], *, waits: bool) -> Iterator[R | None]:
        """Up to End; None when none is there and some are under way, unless it `waits` for the next."""
        while True:
            if self._under_way and not waits and self._asked.empty():
                yield None
                continue
            request = self._next()
            if isinstance(request, End):
                return
            assert isinstance(request, kind)
            self._under_way += 1
            yield request

    def _next(self) -> Request:
        message = self._asked.get()
        if isinstance(message, Close):
            raise _Closed
        return message

    def _say(self, message: Reply) -> None:
        self._pipe.send(message)


def main() -> None:
    """Serves the process at the other end of the pipe whose number is the only argument."""
    # Ctrl-C is for the process that started this one, which then says what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Standard output belongs to the command, whatever a library prints.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    pipe = Connection(int(sys.argv[1]))
    Replica(pipe).serve(pipe.recv())


if __name__ == "__main__":
    main()
