"""Count and quantiles by reason: sgpo sql against bare DuckDB on the same files, in turns, each in a process of its own."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

import duckdb

from sgpo_data.catalog import catalog
from sgpo_data.manifest import MANIFEST, Identity, Manifest, host, versions
from sgpo_data.parquet import write_parquet
from sgpo_data.sandbox import selected
from sgpo_data.schema import schema

QUERIES = {
    "count and quantiles by reason": """
        SELECT coalesce(dropped_by, 'kept') AS reason, count(*) AS rows, quantile_cont(improved_nll / improved_tokens, [0.05, 0.5, 0.95]) AS nats
        FROM filtered GROUP BY reason ORDER BY reason
    """,
    "longest rewrites, with their texts": "SELECT prompt_id, response, improved FROM filtered ORDER BY edited_words DESC, prompt_id LIMIT 20",
    "words of all rewrites": "SELECT sum(length(improved) - length(replace(improved, ' ', ''))) AS words FROM filtered",
}
PART_ROWS = 131072
# About 1 KB of text a row, of which nothing repeats; every number is a hash of the row and the seed.
ROWS = """
SELECT
    left(md5(i || 'p'), 32) AS prompt_id, [{{'role': 'user', 'content': text || i}}] AS messages, text || 'reference' AS reference, NULL::VARCHAR AS rejected,
    'source-' || i % 7 AS source, 1::BIGINT AS count, 0 AS sample, text || 'response' AS response, 'stop' AS finish, 100 * spread AS sampled_nll,
    100 AS sampled_tokens, 'folder:policy' AS policy, 'improved' || text AS improved, 'stop' AS improved_finish, 'folder:policy' AS improver,
    'improve' AS "role", [{{'role': 'user', 'content': text}}] AS improver_prompt, 'template' AS improve_template, NULL::VARCHAR AS refine_template,
    120 * spread AS response_nll, 100 AS response_tokens, (50 + i % 100) * spread AS improved_nll, (50 + i % 100)::INTEGER AS improved_tokens,
    90 * spread AS reference_nll, 100 AS reference_tokens, 30 * spread AS improved_nll_given_draft, 'folder:scorer' AS scorer,
    50 AS response_words, 50 AS improved_words, 50 AS reference_words, (hash(i) % 50)::INTEGER AS edited_words, 20 AS reference_edited_words,
    0 AS response_repeats, 0 AS improved_repeats, NULL::VARCHAR AS residue,
    CASE WHEN spread < 0.1 THEN 'ppl' WHEN spread < 0.2 THEN 'changed' WHEN spread < 0.23 THEN 'length' END AS dropped_by,
    CASE WHEN spread < 0.23 THEN [dropped_by] ELSE []::VARCHAR[] END AS failed_rules
FROM (
    SELECT i, hash(i, {seed}) / 18446744073709551616.0 AS spread, array_to_string([md5(i || '/' || j) FOR j IN range(6)], ' ') AS text
    FROM range({first}, {last}) AS r (i)
)
"""


def main() -> None:
    """Prints one line for each query: seconds of both, their ratio, and peak memory."""
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
        print(f"{given.rows} rows, {megabytes:.0f} MB, median of {given.rounds} rounds, DuckDB {duckdb.__version__}")
        for name in QUERIES:
            report(name, data, given.rounds)


def report(name: str, data: Path, rounds: int) -> None:
    """Both sides in turns, so that what else the machine does falls on both; their answers have to be equal."""
    found: dict[str, list[dict[str, object]]] = {"sgpo sql": [], "bare DuckDB": []}
    for turn in range(rounds):
        for side in sorted(found, reverse=bool(turn % 2)):
            command = [sys.executable, __file__, "--data", str(data), "--measure", side, name]
            found[side].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert len({json.dumps(each["rows"]) for runs in found.values() for each in runs}) == 1
    seconds = {side: median(float(str(run["seconds"])) for run in runs) for side, runs in found.items()}
    memory = {side: max(int(str(run["peak_mb"])) for run in runs) for side, runs in found.items()}
    told = ", ".join(f"{side} {seconds[side]:.3f} s, {memory[side]} MB" for side in found)
    print(f"{name}: {told}; {seconds['sgpo sql'] / seconds['bare DuckDB']:.2f} times")


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
    """A finished dataset of table filtered."""
    folder.mkdir(parents=True, exist_ok=True)
    identity = Identity(stage="benchmark", revision=1, fields={"rows": rows, "seed": seed}, inputs=(), models={})
    table, files = schema("filtered"), []
    with duckdb.connect() as con:
        for number, first in enumerate(range(0, rows, PART_ROWS)):
            part = con.sql(ROWS.format(first=first, last=min(first + PART_ROWS, rows), seed=seed)).to_arrow_table().cast(table.arrow)
            files.append(write_parquet(folder / f"part-{number:05}.parquet", part, table, fingerprint=identity.fingerprint))
    manifest = Manifest(
        table="filtered",
        fingerprint=identity.fingerprint,
        identity=identity,
        origin=None,
        rows_in=rows,
        rows=rows,
        outcomes={},
        facts={},
        warnings=(),
        files=tuple(files),
        seconds=0,
        tokens=0,
        deterministic=True,
        created=datetime.now(UTC),
        host=host(None),
        versions=versions(),
        git_commit=None,
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json())


if __name__ == "__main__":
    main()
