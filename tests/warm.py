"""Commands in processes of their own that begin warm: starting Python with torch and transformers takes longer than most of them run."""

import atexit
import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from warm_sgpo import number, requested

SGPO = Path(sys.executable).with_name("sgpo")
"""The installed command."""


class WarmProcess:
    """A process in a session of its own that runs a script with what is imported already."""

    def __init__(self, words: Sequence[str], files: Sequence[int], environment: Mapping[str, str]) -> None:
        self._connection = requested(_address(), words, files, environment, leads=True)
        self._status: int | None = None
        self.pid = number(self._connection)

    def poll(self) -> int | None:
        """As of subprocess."""
        return self.wait() if self._status is not None or select.select([self._connection], [], [], 0)[0] else None

    def wait(self) -> int:
        """As of subprocess."""
        if self._status is None:
            self._status = number(self._connection)
            self._connection.close()
        return self._status


def warm_path(folder: Path) -> str:
    """A PATH for shells, on which `sgpo` is the installed command in a process that begins warm; the file for it goes into the folder."""
    folder.mkdir(exist_ok=True)
    words = [sys.executable, "-IS", str(Path(__file__).with_name("warm_sgpo.py")), _address(), str(SGPO)]
    command = folder / "sgpo"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    command.chmod(0o755)
    return os.pathsep.join((str(folder), str(SGPO.parent), os.environ["PATH"]))


def _address() -> str:
    """Of the warm process for the Hub of now: what is imported knows one."""
    return _server(os.environ["HF_ENDPOINT"])


@cache
def _server(_hub: str) -> str:
    folder = tempfile.mkdtemp(prefix="sgpo-tests-warm-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address = f"{folder}/socket"
    with socket.socket(socket.AF_UNIX) as listener, Path(folder, "log").open("wb") as log:
        listener.bind(address)
        listener.listen(64)
        command = [sys.executable, str(Path(__file__).with_name("warm_server.py")), str(listener.fileno())]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, pass_fds=[listener.fileno()])
    atexit.register(process.communicate)
    return address
