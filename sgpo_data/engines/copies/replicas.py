"""Several copies of a model, each in a process and on devices of its own, as one engine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TypeVar, cast

from sgpo_data.engines import GenerateRequest, Generation, Scored, ScoreRequest
from sgpo_data.engines.copies.messages import Begin, Close, End, Failed, Opening, Ready, Reply, Request, Result
from sgpo_data.engines.loading import WeightsLoading, Work
from sgpo_data.errors import EngineError
from sgpo_data.execution import Execution

R = TypeVar("R", GenerateRequest, ScoreRequest)

PROCESS = "sgpo_data.engines.copies.replica"
CLOSING_SECONDS = 20
"""How long a copy may take to end by itself."""


@dataclass
class Copy:
    """A process with a copy of the model, seen from here."""

    process: subprocess.Popen[bytes]
    pipe: Connection
    share: int
    """Most requests that may be with it."""
    under_way: int = 0
    ready: bool = False

    def ask(self, message: Request) -> None:
        """Raises EngineError if the process has ended."""
        try:
            self.pipe.send(message)
        except OSError:
            # What it said last may be the reason.
            while True:
                self.said()

    def said(self) -> Reply:
        """The next message, waited for.

        Raises EngineError if the process has ended, or what the copy failed with.
        """
        try:
            message: Reply = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise EngineError(f"a copy of the model has ended ({_reason(self.process.wait())}); the same command goes on from here") from error
        if isinstance(message, Failed):
            raise message.error
        return message

    def close(self) -> None:
        """Waits until the process has ended as it was told, or ends it; then all it had on a device is free."""
        with suppress(EOFError, OSError):
            # It may wait for somebody to take its last results.
            while self.ready and self.pipe.poll(CLOSING_SECONDS):
                self.pipe.recv()
        try:
            # One that is still loading would not listen.
            self.process.wait(CLOSING_SECONDS if self.ready else 0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.pipe.close()


class Replicas:
    """Generates and scores with several copies of one model; one stream at a time."""

    def __init__(self, copies: list[Copy]) -> None:
        self._copies = copies
        self._streams = 0
        self._accelerator: str | None = None

    @classmethod
    def start(cls, loading: WeightsLoading, folder: Path, *, adapter: Path | None, how: Execution) -> Replicas:
        """`how.data_parallel` copies, each loaded as it would be in this process, which share the window.

        Raises EngineError if there are not as many devices, or whatever the loading of a copy raises.
        """
        count = min(how.data_parallel, how.window)
        devices = _devices(how, count)
        engine = cls([])
        try:
            for index in range(count):
                share = (how.window + index) // count
                opening = Opening(loading, folder, adapter, how.model_copy(update={"data_parallel": 1, "window": share}))
                engine._copies.append(_start(opening, devices[index] if devices else None))
            for copy in engine._copies:
                ready = copy.said()
                assert isinstance(ready, Ready)
                copy.ready, engine._accelerator = True, ready.accelerator
        except BaseException:
            engine.close()
            raise
        return engine

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        """As `Generator.generate`."""
        return cast("Iterator[Generation]", self._stream("generate", requests))

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
        """As `Scorer.score`."""
        return cast("Iterator[Scored]", self._stream("score", requests))

    def close(self) -> None:
        """Ends all copies; nothing may be asked afterwards."""
        copies, self._copies = self._copies, []
        _tell(copies, Close())
        for copy in copies:
            copy.close()

    @property
    def accelerator(self) -> str | None:
        """Name of the GPU that the copies are on, None on the CPU."""
        return self._accelerator

    def _stream(self, work: Work, requests: Iterable[R | None]) -> Iterator[Generation | Scored]:
        if not self._copies:
            raise EngineError("the engine is closed")
        self._streams += 1
        return self._results(Begin(work, self._streams), iter(requests), self._copies)

    def _results(self, begin: Begin, source: Iterator[R | None], copies: list[Copy]) -> Iterator[Generation | Scored]:
        of_pipe = {copy.pipe: copy for copy in copies}
        for copy in copies:
            copy.under_way = 0
            copy.ask(begin)
        ended = False
        try:
            while True:
                while not ended and (copy := min(copies, key=_load)).under_way < copy.share:
                    request = next(source, End())
                    if request is None:
                        break
                    if isinstance(request, End):
                        ended = True
                        _tell(copies, End())
                    else:
                        copy.under_way += 1
                        copy.ask(request)
                if not any(copy.under_way for copy in copies):
                    return
                for pipe in wait(list(of_pipe)):
                    copy = of_pipe[cast("Connection", pipe)]
                    said = copy.said()
                    assert isinstance(said, Result)
                    # A stream that was dropped before may still come to its end.
                    if said.stream == begin.stream:
                        copy.under_way -= 1
                        yield said.result
        finally:
            if not ended:
                _tell(copies, End())


def _tell(copies: list[Copy], message: Request) -> None:
    """Tells all copies that are still there; that one is gone, the next that it should say will show."""
    for copy in copies:
        with suppress(OSError):
            copy.pipe.send(message)


def _load(copy: Copy) -> float:
    return copy.under_way / copy.share


def _start(opening: Opening, devices: str | None) -> Copy:
    ours, theirs = socket.socketpair()
    with theirs:
        environment = os.environ if devices is None else {**os.environ, "CUDA_VISIBLE_DEVICES": devices}
        # -P: as for a command, what lies in the folder it is run in is no module.
        command = [sys.executable, "-P", "-m", PROCESS, str(theirs.fileno())]
        # In a process group of its own, so that Ctrl-C comes here alone.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], process_group=0, env=environment)
    copy = Copy(process, Connection(ours.detach()), opening.how.window)
    copy.pipe.send(opening)
    return copy


def _devices(how: Execution, copies: int) -> list[str]:
    """The GPUs of each copy, as CUDA_VISIBLE_DEVICES takes them; none if the model runs on the CPU."""
    import torch

    if how.device.startswith("cuda:"):
        raise EngineError(f"device {how.device}: --data-parallel takes the GPUs that are visible; set CUDA_VISIBLE_DEVICES and give cuda")
    visible = torch.cuda.device_count()
    if how.device == "cpu" or not visible:
        return []
    each = how.tensor_parallel
    if copies * each > visible:
        raise EngineError(f"--data-parallel {copies}: needs {copies * each} GPUs, and {visible} can be seen; lower it or --tensor-parallel")
    names = os.environ["CUDA_VISIBLE_DEVICES"].split(",") if os.environ.get("CUDA_VISIBLE_DEVICES") else [str(gpu) for gpu in range(visible)]
    return [",".join(names[copy * each : (copy + 1) * each]) for copy in range(copies)]


def _reason(status: int) -> str:
    return f"killed by signal {-status}, maybe for memory" if status < 0 else f"exit code {status}"
