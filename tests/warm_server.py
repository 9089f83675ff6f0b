"""A warm process: it has imported what commands import, and forks one for each command that it is asked for.

python warm_server.py FILE_NUMBER_OF_A_LISTENING_SOCKET
"""

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

IMPORTED = ("sgpo_data.cli.main", "sgpo_data.engines.local.decoding", "sgpo_data.engines.local.likelihood", "sgpo_data.training.trl")


def main() -> None:
    """Serves until its standard input ends, as it does with the process that started this one."""
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(fileno=int(sys.argv[1]))
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            run(connection)
            return
        connection.close()


def run(connection: socket.socket) -> None:
    """Becomes the command that the connection asks for, and leaves behind a process that tells of its end."""
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as request:
        command = json.load(request)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if pid := os.fork():
        follow(pid, connection, files)
    connection.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if command["leads"]:
        os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(command["folder"])
    os.environ.clear()
    os.environ.update(command["environment"])
    sys.argv = command["words"]
    runpy.run_path(sys.argv[0], run_name="__main__")


def follow(pid: int, connection: socket.socket, files: Sequence[int]) -> NoReturn:
    """Tells who the process is and how it ended, to whoever still wants to know."""
    for file in files:
        os.close(file)
    with contextlib.suppress(OSError):
        connection.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    main()
