"""Whether pairs or examples are fit to train on: each check with its value, its threshold and an example."""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import duckdb
import polars as pl
import pyarrow as pa

from sgpo_data.analysis.options import LintThresholds
from sgpo_data.connection import connected
from sgpo_data.errors import DatasetError, SchemaError
from sgpo_data.stages.improve.templates import recorded_templates, wording_of
from sgpo_data.store.dataset import Dataset, unreadable
from sgpo_data.text.answer_faults import SHORTEST_LEAK, flagged
from sgpo_data.text.measures import WORDS, distinct_2
from sgpo_data.text.wording import TemplateWording
from sgpo_data.text.words import words

BATCH_ROWS = 16384
DIVERSITY_ROWS = 1000

TEXTS = {
    "pairs": """
        SELECT prompt_id, sample, prompt[-1].content AS asked, [coalesce(turn.content, '') FOR turn IN prompt] AS turns,
            chosen[1].content AS chosen, rejected[1].content AS rejected, edited_words,
            chosen_nll / chosen_tokens AS chosen_nll_per_token, rejected_nll / rejected_tokens AS rejected_nll_per_token
        FROM rows
    """,
    # The prompt of a rewrite is a template around the draft: it has nothing to leak, and its script is not that of the user.
    "examples": """
        SELECT prompt_id, sample, CASE WHEN kind = 'reference' THEN prompt[-1].content END AS asked,
            [coalesce(turn.content, '') FOR turn IN prompt] AS turns, completion[1].content AS chosen,
            NULL::VARCHAR AS rejected, NULL::INTEGER AS edited_words, NULL::DOUBLE AS chosen_nll_per_token, NULL::DOUBLE AS rejected_nll_per_token
        FROM rows
    """,
}
LEAKED = """
    INSERT INTO leaked
    SELECT prompt_id, sample
    FROM filtered
    WHERE dropped_by IS NULL AND length(trim(reference)) >= $shortest AND contains(improved, trim(reference))
"""
# A short answer, such as yes, is right for many prompts. Hashes can spill to the disk where texts in an aggregate cannot.
REPEATED = """
    CREATE TABLE repeated AS
    SELECT answer
    FROM measured
    WHERE words >= 7
    GROUP BY answer
    HAVING min(hash(prompt_id)) != max(hash(prompt_id))
"""
TOLD = """
    CREATE VIEW told AS
    SELECT
        *,
        prompt_id || '/' || sample                                                                 AS key,
        words > rejected_words                                                                     AS longer,
        words >= 7 AND answer IN (SELECT answer FROM repeated)                                     AS repeated,
        chosen_nll_per_token > rejected_nll_per_token                                              AS less_likely,
        CASE WHEN $leaks THEN (prompt_id, sample) IN (SELECT (prompt_id, sample) FROM leaked) END  AS reference_leak
    FROM measured
"""
LENGTHS = """
    SELECT
        avg(words)                                            AS words,
        avg(rejected_words)                                   AS rejected_words,
        sqrt((var_samp(words) + var_samp(rejected_words)) / 2) AS deviation,
        max({apart: abs(words - rejected_words), key: key}).key AS example,
        avg(rejected_refusal::INTEGER)                        AS refusal,
        avg(rejected_truncated::INTEGER)                      AS truncated,
        exp(median(chosen_nll_per_token))                     AS ppl,
        exp(median(rejected_nll_per_token))                   AS rejected_ppl
    FROM told
"""
DRAWN = """
    WITH drawn AS (SELECT prompt_id, sample FROM measured ORDER BY md5(prompt_id || '/' || sample) LIMIT ?)
    SELECT chosen FROM texts SEMI JOIN drawn USING (prompt_id, sample) ORDER BY md5(prompt_id || '/' || sample)
"""
NOT_MEASURED = "not measured"
FLAGS = {
    "longer": "max_longer",
    "near_identical": "max_near_identical",
    "prompt_leak": "max_prompt_leaks",
    "reference_leak": "max_reference_leaks",
    "refusal": "max_refusals",
    "truncated": "max_truncated",
    "residue": "max_residue",
    "damaged": "max_damaged",
    "other_script": "max_other_script",
    "repeated": "max_repeated",
    "empty": "max_empty",
    "less_likely": "max_less_likely",
}
"""Checks that count rows, in the order in which they are told, each with its threshold."""


Verdict = Literal["ok", "warn", "failed"] | None
ADVISORY = frozenset(("less_likely",))
"""Checks that only warn: rejected is a sample of the model itself, which is the likelier one by nature."""


@dataclass(frozen=True)
class LintFinding:
    """What a check found."""

    check: str
    value: float | None
    """A share of rows, but for length_bias and distinct_2; None if it could not be measured."""
    threshold: float
    flag: str
    """Names the threshold."""
    verdict: Verdict
    """warn: past its threshold, but no reason to stop; None if it could not be measured."""
    detail: str
    """The same of the rejected answers, or what the value was made of."""
    example: str | None
    """prompt_id/sample of the first row that was counted, by key; of length_bias, of the greatest difference."""


def lint(dataset: Dataset, thresholds: LintThresholds, *, filtered: Dataset | None, improved: Dataset | None = None) -> tuple[LintFinding, ...]:
    """What each check finds, in a fixed order.

    Texts are read once, in batches; what was measured of them waits in a temporary DuckDB file, so memory is bounded by its limit.
    References are looked for in the filtered dataset that the rows were made of, where it is given; residue is that of the templates that the improved
    dataset was made with, else of those that ship here.
    Of fewer rows than `min_rows`, and of what is only advice, a value past its threshold warns.
    Raises SchemaError if the dataset holds neither pairs nor examples, DatasetError if it has no rows or cannot be read.
    """
    if dataset.table not in TEXTS:
        raise SchemaError(f"{dataset.folder}: holds {dataset.table}; lint reads pairs or examples, which pair makes of it")
    if not dataset.manifest.rows:
        raise DatasetError(f"{dataset.folder}: has no rows, so there is nothing to check")
    with tempfile.TemporaryDirectory(prefix="sgpo-lint-") as folder, connected("fixed", database=Path(folder) / "measured.duckdb") as con:
        try:
            dataset.relation(con).create_view("rows")
            con.execute(f"CREATE TEMP VIEW texts AS {TEXTS[dataset.table]}")
            _measure(con, thresholds.min_edit, wording_of(recorded_templates(improved.manifest.identity.fields) if improved else ()))
        except (duckdb.Error, pa.ArrowException) as error:
            raise unreadable(dataset.folder, error) from error
        _find_leaks(con, filtered)
        con.execute(REPEATED)
        con.execute(TOLD.replace("$leaks", str(filtered is not None)))
        few = dataset.manifest.rows < thresholds.min_rows
        return tuple(_softened(each) if few or each.check in ADVISORY else each for each in _findings(con, thresholds))


def _softened(finding: LintFinding) -> LintFinding:
    return replace(finding, verdict="warn") if finding.verdict == "failed" else finding


def _verdict(value: float | None, *, within: bool) -> Verdict:
    return None if value is None else "ok" if within else "failed"


def _measure(con: duckdb.DuckDBPyConnection, min_edit: float, wording: TemplateWording) -> None:
    """Table `measured`: one row per row, flags and numbers in place of texts."""
    reader = con.sql("FROM texts").to_arrow_reader(BATCH_ROWS)
    writer = con.cursor()
    made = False
    for batch in reader:
        found = flagged(pl.DataFrame(batch), min_edit=min_edit, wording=wording).to_arrow()
        if made:
            writer.from_arrow(found).insert_into("measured")
        else:
            writer.from_arrow(found).create("measured")
            made = True


def _find_leaks(con: duckdb.DuckDBPyConnection, filtered: Dataset | None) -> None:
    """Table `leaked`, the keys of rewrites that hold their reference."""
    con.execute("CREATE TABLE leaked (prompt_id VARCHAR, sample INTEGER)")
    if filtered is not None:
        filtered.relation(con).create_view("filtered")
        con.execute(LEAKED, {"shortest": SHORTEST_LEAK})


def _findings(con: duckdb.DuckDBPyConnection, thresholds: LintThresholds) -> Iterator[LintFinding]:
    lengths = con.sql(LENGTHS).to_arrow_table().to_pylist()[0]
    yield _length_bias(lengths, thresholds.max_length_effect)
    counts = [f"avg({flag}::INTEGER), count(*) FILTER ({flag}), min(key) FILTER ({flag})" for flag in FLAGS]
    (row,) = con.sql(f"SELECT {', '.join(counts)} FROM told").fetchall()
    for (check, flag), share, rows, example in zip(FLAGS.items(), row[0::3], row[1::3], row[2::3], strict=True):
        most = getattr(thresholds, flag)
        detail = NOT_MEASURED if share is None else _detail(check, rows, lengths)
        yield LintFinding(check, share, most, flag, _verdict(share, within=share is None or share <= most), detail, example)
    distinct = distinct_2([words(answer) for (answer,) in con.execute(DRAWN, [DIVERSITY_ROWS]).fetchall()], WORDS)
    varied = _verdict(distinct, within=distinct is None or distinct >= thresholds.min_distinct_2)
    yield LintFinding("distinct_2", distinct, thresholds.min_distinct_2, "min_distinct_2", varied, "", None)


def _length_bias(lengths: dict[str, float | None], most: float) -> LintFinding:
    chosen, rejected, deviation = lengths["words"], lengths["rejected_words"], lengths["deviation"]
    if chosen is None or rejected is None or deviation is None:
        return LintFinding("length_bias", None, most, "max_length_effect", None, NOT_MEASURED, None)
    # Answers of one length only deviate in nothing.
    effect = (chosen - rejected) / deviation if deviation else 0.0 if chosen == rejected else math.copysign(math.inf, chosen - rejected)
    verdict = _verdict(effect, within=abs(effect) <= most)
    return LintFinding("length_bias", effect, most, "max_length_effect", verdict, f"words {chosen:.1f} / {rejected:.1f}", str(lengths["example"]))


def _detail(check: str, rows: int, lengths: dict[str, float | None]) -> str:
    if check in ("refusal", "truncated") and lengths[check] is not None:
        return f"{rows} rows; rejected {lengths[check]:.1%}"
    if check == "less_likely":
        return f"{rows} rows; ppl {lengths['ppl']:.2f} / {lengths['rejected_ppl']:.2f}"
    return f"{rows} rows"
