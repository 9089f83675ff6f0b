"""A result as a Markdown document: the table, the machine, the versions and the command."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sgpo_data.store.manifest import versions


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as a Markdown table; the keys of the first one are its head."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row[name]) for name in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def document(title: str, *blocks: str) -> str:
    """The title, the blocks, and under what circumstances they came about."""
    command = shlex.join(["python", *(os.path.relpath(argument) if argument == sys.argv[0] else argument for argument in sys.argv)])
    found = ", ".join(f"{name} {version}" for name, version in versions().items())
    return "\n\n".join([f"# {title}", *blocks, f"`{command}`", f"{machine()}; {found}.", ""])


def machine() -> str:
    """Processor, cores, memory, the threads that a model may use, and how many processes wanted to run over the last five minutes, this one among them."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown processor")
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    return f"{processor}, {cores} cores, {memory:.0f} GiB, load {os.getloadavg()[1]:.1f}, OMP_NUM_THREADS={threads}"
