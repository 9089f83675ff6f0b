"""Machines of a Ray cluster, in processes of their own, as `ray start` begins them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from killing import MARK, SECONDS

RAY = Path(sys.executable).with_name("ray")
MEMORY = 80 * 2**20


class Machine:
    """All processes of one machine, the workers among them."""

    def __init__(self, *words: str) -> None:
        self._mark = f"{MARK}={os.getpid()}-{time.monotonic_ns()}"
        name, _, mark = self._mark.partition("=")
        command = [str(RAY), "start", *words, "--object-store-memory", str(MEMORY)]
        began = subprocess.run(command, env={**os.environ, name: mark}, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if began.returncode:
            self.kill()
            raise AssertionError(began.stdout + began.stderr)

    def kill(self, name: str = "") -> None:
        """Kills every process with this in its name and waits for its end."""
        deadline = time.monotonic() + SECONDS
        while alive := [process for process, found in self._processes().items() if name in found]:
            assert time.monotonic() < deadline, f"left behind: {alive}"
            for process in alive:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.01)

    def _processes(self) -> dict[int, str]:
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = Path((folder / "cmdline").read_bytes().split(b"\0")[0].decode()).name
        return found


@contextmanager
def machines(count: int, *, cpus: int) -> Iterator[tuple[str, list[Machine]]]:
    """The address of a cluster and its machines, the head first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # Short: a path to a socket has room for a hundred characters.
    place = tempfile.mkdtemp(prefix="ray-")
    each = ["--num-cpus", str(cpus), "--node-ip-address", "127.0.0.1"]
    head = ["--head", "--port", address.rpartition(":")[2], "--include-dashboard", "false", "--temp-dir", place]
    found: list[Machine] = []
    try:
        for number in range(count):
            found.append(Machine(*(["--address", address] if number else head), *each))
        yield address, found
    finally:
        for machine in found:
            machine.kill()
        shutil.rmtree(place, ignore_errors=True)
