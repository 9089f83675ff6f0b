"""A connection to a Ray cluster, and what its end and the errors of its workers are to the user."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sgpo_data.errors import EngineError, MissingExtraError, SgpoError, first_line

REACH_SECONDS = 10.0


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Connected to the cluster; to one that this process is connected to already, it stays so."""
    # Whoever asks for a cluster has not asked to tell its makers about it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
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
            raise EngineError(f"--ray {address}: the cluster is lost ({first_line(cause)}); the same command goes on from here") from error
        if isinstance(cause, SgpoError):
            raise cause from None
        raise
