"""A connection to a Ray cluster, and what its end and the errors of its workers are to the user."""

import atexit
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from time import monotonic
from typing import Self

from sgpo_data.errors import EngineError, MissingExtraError, SgpoError, first_line

REACH_SECONDS = 10.0
LOOK_SECONDS = 1.0
RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Where Ray looks how many seconds to wait for a head that does not answer; ray 2.60, src/ray/common/ray_config_def.h."""
BEGIN_AGAIN = "begin the cluster again if it does not come back by itself; the same command goes on from here"


class HeadWatch:
    """Whether the head of a cluster still answers: Ray itself waits, and then ends the process with lines of its own and no error."""

    def __init__(self, address: str, *, patience: float) -> None:
        self._address, self._patience = address, patience
        self._heard = self._looked = monotonic()
        # Some clusters are reached in another way than by a connection to the head.
        self._watched = self._answers()

    @classmethod
    def of_this_process(cls) -> Self:
        """Of the cluster that this process is connected to; it loses patience in a third of the time that Ray takes, since to disconnect takes some too."""
        import ray

        # A client has no connection of its own to the head.
        remote = ray.util.client.ray.is_connected()  # type: ignore[no-untyped-call]
        address = "" if remote else ray.get_runtime_context().gcs_address
        return cls(address, patience=float(os.environ.get(RECONNECT, "60")) / 3)

    def look(self) -> None:
        """Raises EngineError if the head has not answered for too long."""
        if not self._watched or monotonic() - self._looked < LOOK_SECONDS:
            return
        if self._answers():
            self._heard = monotonic()
        elif monotonic() - self._heard > self._patience:
            raise EngineError(f"{self._address}: the head of the Ray cluster has not answered for {self._patience:.0f} s; {BEGIN_AGAIN}")
        self._looked = monotonic()

    def _answers(self) -> bool:
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK_SECONDS).close()
        except (OSError, ValueError):
            return False
        return True


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Connected to the cluster; to one that this process is connected to already, it stays so."""
    # Whoever asks for a cluster has not asked to tell its makers about it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _end_quietly()
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    if ray.is_initialized():
        with _losses_told(address):
            yield
        return
    _connect(address)
    try:
        with _losses_told(address):
            yield
    finally:
        ray.shutdown()


@cache
def _end_quietly() -> None:
    """Ray keeps some of our functions beyond the end of the interpreter, and DuckDB's bindings then list what of theirs was in sight, forty lines of it."""

    def silence() -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    # What is registered first runs last: whoever has something to say at the end has said it.
    atexit.register(silence)


def _connect(address: str) -> None:
    import ray

    try:
        host, colon, port = address.removeprefix("ray://").rpartition(":")
        if colon and port.isdecimal():
            # Ray waits a minute for what does not answer, and then ends the process.
            socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
        with _handlers_kept():
            dashboard = False if address == "local" else None
            ray.init(address=address, include_dashboard=dashboard, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, OSError, OverflowError, RuntimeError, ValueError) as error:
        raise EngineError(
            f"--ray {address}: no cluster there that this Ray can join ({first_line(error)}); begin one with: ray start --head --port 6379, then give "
            "--ray HOST:6379, or auto on a machine of it; --ray local is one on this machine alone"
        ) from error


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Signals do what they did before, whatever a library does about them."""
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _losses_told(address: str) -> Iterator[None]:
    """Turns the end of the cluster into a line, and an error of a worker into itself."""
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayError as error:
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, RayError):
            raise EngineError(f"--ray {address}: the cluster is lost ({first_line(cause)}); {BEGIN_AGAIN}") from error
        if isinstance(cause, SgpoError):
            raise cause from None
        raise
