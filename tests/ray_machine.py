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

    def __init__(self, *words: str, hides: Path | None = None) -> None:
        self._mark = f"{MARK}={os.getpid()}-{time.monotonic_ns()}"
        name, _, mark = self._mark.partition("=")
        command = [*(hiding(hides) if hides else ()), str(RAY), "start", *words, "--object-store-memory", str(MEMORY)]
        began = subprocess.run(command, env={**os.environ, name: mark}, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if began.returncode:
            self.kill()
            raise AssertionError(began.stdout + began.stderr)

    def runs(self, name: str) -> bool:
        """Whether a process of it has this in its name."""
        return any(name in found for found in self._processes().values())

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


def hiding(folder: Path) -> list[str]:
    """What a command begins with that is to find nothing in this folder, nor put anything there for others."""
    return ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder)]


@contextmanager
def machines(count: int, *, cpus: int, hides: Path | None = None) -> Iterator[tuple[str, list[Machine]]]:
    """The address of a cluster and its machines, the head first; all others do not see the folder that it hides."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # Short: a path to a socket has room for a hundred characters.
    place = tempfile.mkdtemp(prefix="ray-")
    each = ["--num-cpus", str(cpus)]
    head = ["--head", "--port", address.rpartition(":")[2], "--include-dashboard", "false", "--temp-dir", place]
    found: list[Machine] = []
    try:
        for number in range(count):
            # A driver joins a machine of its own address: with a hidden folder that has to be the head.
            own = ["--node-ip-address", f"127.0.0.{number + 1 if hides else 1}"]
            found.append(Machine(*(["--address", address] if number else head), *each, *own, hides=hides if number else None))
        yield address, found
    finally:
        for machine in found:
            machine.kill()
        shutil.rmtree(place, ignore_errors=True)
