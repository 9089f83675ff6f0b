"""What became of the rows of a dataset, in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

FINISH = {
    "stop": "finished",
    "length": "cut at max_tokens (or the context's end), raise it",
    "empty": "empty",
    "too_long": "not asked for, the prompt is longer than the context",
    "refused": "refused by the server",
    "timeout": "not answered in time",
    "no_response": "not asked for, there is no whole response",
    "no_reference": "not asked for, there is no reference",
    "duplicate": "not asked for, the prompt is a near duplicate",
    "contaminated": "not asked for, the prompt is contaminated",
}
"""By finish reason, of an answer."""

UNFINISHED = """
    CASE WHEN finish != 'stop' THEN 'response' ELSE 'rewrite' END AS answer,
    CASE
        WHEN finish != 'stop' THEN finish
        WHEN improved_finish != 'stop' THEN improved_finish
        WHEN residue IS NOT NULL THEN 'residue'
        ELSE 'empty'
    END AS reason,
    count(*) AS rows"""
"""Why a row of `filtered` fails the rule `finished`: its response first, since nothing good comes of a bad one."""


def outcome(table: str, outcomes: Mapping[str, int], paths: Sequence[Path]) -> str:
    """Rows by outcome, of the table in the Parquet files at `paths`."""
    if table == "filtered":
        return _filtered(outcomes, paths)
    if table in ("responses", "improved"):
        told = "; ".join(f"{count} {FINISH.get(name, name)}" for name, count in outcomes.items())
    else:
        told = ", ".join(f"{count} {name}" for name, count in outcomes.items())
    missing = _without_reference(paths) if table in ("prompts", "responses") else 0
    return f"{told}; {missing} without a reference" if missing else told


def _without_reference(paths: Sequence[Path]) -> int:
    if not paths:
        return 0
    with duckdb.connect() as con:
        ((missing,),) = con.read_parquet([str(path) for path in paths]).filter("reference IS NULL").aggregate("count(*)").fetchall()
    return int(missing)


def _filtered(outcomes: Mapping[str, int], paths: Sequence[Path]) -> str:
    dropped = {rule: count for rule, count in outcomes.items() if rule != "kept"}
    summary = f"kept {outcomes.get('kept', 0)}, dropped {sum(dropped.values())}"
    reasons = [f"{count} not finished ({_unfinished(paths)})" if rule == "finished" else f"{count} by {rule}" for rule, count in dropped.items()]
    return f"{summary}: {', '.join(reasons)}" if reasons else summary


def _unfinished(paths: Sequence[Path]) -> str:
    with duckdb.connect() as con:
        rows = con.read_parquet([str(path) for path in paths]).filter("dropped_by = 'finished'")
        counted = rows.aggregate(UNFINISHED, "answer, reason").order("rows DESC, answer, reason").fetchall()
    words = {**FINISH, "residue": "with text of the template"}
    return "; ".join(f"{count} {answer}{'s' * (count != 1)} {words.get(reason, reason)}" for answer, reason, count in counted)
