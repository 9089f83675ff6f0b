"""Count and quantiles by reason: sgpo sql against bare DuckDB on the same files, in turns, each in a process of its own."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import duckdb
from result import document, table
from rows import scored_rows

from sgpo_data.execution import Execution
from sgpo_data.query.catalog import catalog
from sgpo_data.query.sandbox import selected
from sgpo_data.running.runner import run
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.store.manifest import MANIFEST

QUERIES = {
    "count and quantiles by reason": """
        SELECT coalesce(dropped_by, 'kept') AS reason, count(*) AS rows, quantile_cont(improved_nll / improved_tokens, [0.05, 0.5, 0.95]) AS nats
        FROM filtered GROUP BY reason ORDER BY reason
    """,
    "longest rewrites, with their texts": "SELECT prompt_id, response, improved FROM filtered ORDER BY edited_words DESC, prompt_id LIMIT 20",
    "words of all rewrites": "SELECT sum(length(improved) - length(replace(improved, ' ', ''))) AS words FROM filtered",
}


def main() -> None:
    """Prints a table with a row for each query: seconds of both, their ratio, and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="where the rows are made, or were made before; else a folder that is removed in the end")
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=2, metavar=("SIDE", "QUERY"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        make(given.data, given.rows, given.seed)
        return
    if given.measure:
        print(json.dumps(measured(given.measure[0], QUERIES[given.measure[1]], given.data)))
        return
    with tempfile.TemporaryDirectory() as folder:
        data = given.data or Path(folder) / "filtered"
        if not (data / MANIFEST).exists():
            # In a process of its own: the peak memory of a process counts for those that it starts.
            own = ["--make", "--data", str(data), "--rows", str(given.rows), "--seed", str(given.seed)]
            subprocess.run([sys.executable, __file__, *own], check=True)
        megabytes = sum(path.stat().st_size for path in data.iterdir()) / 1e6
        rows = [compared(name, data, given.rounds) for name in QUERIES]
        told = f"{given.rows:,} rows of `filtered`, {megabytes:,.0f} MB; seconds, median of {given.rounds} rounds, sides in turns, a process each."
        print(document("sgpo sql against bare DuckDB", told, table(rows)))


def compared(name: str, data: Path, rounds: int) -> dict[str, str]:
    """A row of the table. Both sides in turns, so that what else the machine does falls on both; their answers have to be equal."""
    found: dict[str, list[dict[str, object]]] = {"sgpo sql": [], "bare DuckDB": []}
    for turn in range(rounds):
        for side in sorted(found, reverse=bool(turn % 2)):
            command = [sys.executable, __file__, "--data", str(data), "--measure", side, name]
            found[side].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert len({json.dumps(each["rows"]) for runs in found.values() for each in runs}) == 1
    seconds = {side: median(float(str(run["seconds"])) for run in runs) for side, runs in found.items()}
    memory = {side: max(int(str(run["peak_mb"])) for run in runs) for side, runs in found.items()}
    own, bare = "sgpo sql", "bare DuckDB"
    own_mb, bare_mb = f"{memory[own]:,}", f"{memory[bare]:,}"
    took = {own: f"{seconds[own]:.3f}", "its peak MB": own_mb, bare: f"{seconds[bare]:.3f}", "peak MB": bare_mb}
    return {"query": name, **took, "ratio": f"{seconds[own] / seconds[bare]:.2f}"}


def measured(side: str, query: str, data: Path) -> dict[str, object]:
    """Seconds from an open connection to all rows, peak memory of this process, and the rows."""
    if side == "sgpo sql":
        con = catalog([str(data)], root=Path()).connect()
        started = perf_counter()
        rows = selected(con, query).fetchall()
    else:
        con = duckdb.connect()
        con.execute(f"CREATE VIEW filtered AS FROM read_parquet('{data}/*.parquet')")
        started = perf_counter()
        rows = con.sql(query).fetchall()
    seconds = perf_counter() - started
    return {"seconds": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "rows": [list(map(str, row)) for row in rows]}


def make(folder: Path, rows: int, seed: int) -> None:
    """A finished dataset of table filtered: what filter decides over made-up scored rows."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        scored = scored_rows(Path(aside) / "scored", rows, seed=seed)
        run(Filter(), str(scored.folder), out=folder, execution=Execution(root=Path(aside)))


if __name__ == "__main__":
    main()
