"""What one looks with at data, over many rows: seconds and peak memory of each command, in a process of its own.

python benchmarks/look.py --rows 10000000 > benchmarks/results/look.md
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import duckdb
from result import document, table
from rows import scored_rows

from sgpo_data.execution import Execution
from sgpo_data.running.runner import run
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.filter.strategies import Ppl
from sgpo_data.stages.pair.pair import Pair

SGPO = Path(sys.executable).with_name("sgpo")
RUN = "benchmark"
COMMANDS = {
    "filter --what-if, 3 values": ("filter", f"{RUN}/first-1/scored", "--what-if", "ppl.k=1.0,1.5,3"),
    "inspect": ("inspect", f"{RUN}/first-1/filtered"),
    "check": ("check", f"{RUN}/first-1/filtered"),
    "diff of two thresholds": ("diff", f"{RUN}/first-1/filtered", f"{RUN}/second-1/filtered"),
    "diff, every row changed": ("diff", f"{RUN}/first-1/scored", f"{RUN}/third-1/scored"),
    "lint": ("lint", f"{RUN}/first-1/pairs"),
    "health, 3 rounds": ("health", RUN),
    "report, 3 rounds": ("report", RUN, "-o", "report.html"),
}
MEANT = (0, 3)
"""Exit statuses; 3 says that something was found in the rows, which are made up."""


def main() -> None:
    """Prints a table with a row for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000, help="Rows of each scored table, of which there are two.")
    parser.add_argument("--root", type=Path, help="Where the run is made, or was made before, about 3.5 KB a row; else a folder that is removed in the end.")
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        make(given.root, given.rows)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = (given.root or Path(folder)).resolve()
        # In a process of its own: the peak memory of a process counts for those that it starts.
        subprocess.run([sys.executable, __file__, "--make", "--root", root, "--rows", str(given.rows)], check=True)
        rows = [measured(name, words, root) for name, words in COMMANDS.items()]
    ((share,),) = duckdb.execute("SELECT current_setting('memory_limit')").fetchall()
    told = f"{given.rows:,} rows in a table, of about 1 KB of text; a process each. DuckDB would take {share} here, 80 % of what a process may have."
    print(document("looking at data", told, table(rows)))


def make(root: Path, rows: int) -> None:
    """Three rounds of a run: scored rows, what filter decides of them, the pairs; the same rows under another threshold; other rows of the same keys."""
    first, second, third = (root / RUN / f"{phase}-1" for phase in ("first", "second", "third"))
    how = Execution(root=root)
    scored_rows(first / "scored", rows)
    scored_rows(third / "scored", rows, seed=1)
    run(Filter(), str(first / "scored"), out=first / "filtered", execution=how)
    run(Filter(ppl=Ppl(k=1.0)), str(first / "scored"), out=second / "filtered", execution=how)
    run(Pair(), str(first / "filtered"), out=first / "pairs", execution=how)


def measured(name: str, words: tuple[str, ...], root: Path) -> dict[str, str]:
    """A row of the table."""
    started = perf_counter()
    with subprocess.Popen([SGPO, *words], cwd=root, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = perf_counter() - started
    if process.returncode not in MEANT:
        raise SystemExit(f"sgpo {' '.join(words)}: exit status {process.returncode}")
    print(f"{name}: {seconds:.1f} s, {used.ru_maxrss / 1024:.0f} MiB", file=sys.stderr)
    return {
        "command": name,
        "seconds": f"{seconds:.1f}",
        "processor seconds": f"{used.ru_utime + used.ru_stime:.1f}",
        "peak MiB": f"{used.ru_maxrss / 1024:,.0f}",
        "exit status": str(process.returncode),
    }


if __name__ == "__main__":
    main()
