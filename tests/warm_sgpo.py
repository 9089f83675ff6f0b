"""Stands for a command on a path: a process forked from a warm one runs it with the files of this process, which ends as that one does.

python warm_sgpo.py SOCKET SCRIPT seed prompts.jsonl ...
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence


def requested(address: str, words: Sequence[str], files: Sequence[int], environment: Mapping[str, str], *, leads: bool = False) -> socket.socket:
    """The connection on which the number of the process and then its exit status will come; `leads` gives it a session of its own."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    socket.send_fds(connection, [b"\n"], files)
    connection.sendall(json.dumps({"words": words, "environment": dict(environment), "folder": os.getcwd(), "leads": leads}).encode())
    connection.shutdown(socket.SHUT_WR)
    return connection


def number(connection: socket.socket) -> int:
    """The next number that comes; what follows it is left to be read."""
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError("the warm process is gone; the file log beside its socket says why")
        line += byte
    return int(line)


def main() -> None:
    address, *words = sys.argv[1:]
    connection = requested(address, words, (0, 1, 2), os.environ)
    number(connection)
    status = number(connection)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    main()
