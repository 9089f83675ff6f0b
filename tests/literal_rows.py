"""Whole rows and tables for tests, of defaults and what a test says otherwise."""

import hashlib
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from sgpo_data.rows import Row
from sgpo_data.schema import schema
from sgpo_data.stages import Decision

Values = dict[str, object]
"""A row of `filtered`, or some of its columns."""


def prompt_id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def row(name: str = "p", /, **given: object) -> Values:
    """A row of `filtered` that fails no rule by default, and neither repeats the answer of another prompt."""
    default = Row(
        prompt_id=prompt_id(name),
        messages=[{"role": "user", "content": f"question {name}"}],
        reference=f"reference {name}",
        rejected=None,
        source="train.jsonl",
        count=1,
        duplicate_of=None,
        contaminated_by=None,
        sample=0,
        response=f"response {name}",
        finish="stop",
        sampled_nll=50.0,
        sampled_tokens=100,
        policy="model-p",
        improved=f"improved {name} {given.get('sample', 0)}",
        improved_finish="stop",
        improver="model-i",
        role="refine",
        improver_prompt=[{"role": "user", "content": f"improve {name}"}],
        improve_template="ab",
        refine_template="cd",
        response_nll=120.0,
        response_tokens=100,
        improved_nll=100.0,
        improved_tokens=100,
        reference_nll=90.0,
        reference_tokens=100,
        improved_nll_given_draft=30.0,
        scorer="model-s",
        response_words=100,
        improved_words=100,
        reference_words=100,
        edited_words=30,
        reference_edited_words=60,
        response_repeats=0,
        improved_repeats=0,
        residue=None,
        response_reward=0.0,
        improved_reward=1.0,
        reward_model="model-r",
    )
    unknown = given.keys() - set(schema("filtered").column_names)
    assert not unknown
    return {**default, "dropped_by": None, "failed_rules": [], **given}


def pair_row(name: str = "p", /, **given: object) -> Values:
    """A row of `pairs`."""
    whole = row(name)
    answer = {side: [{"role": "assistant", "content": f"{side} {name}"}] for side in ("chosen", "rejected")}
    kept = {column: whole[column] for column in ("prompt_id", "sample", "source", "policy", "improver", "scorer", "edited_words")}
    return {**kept, "prompt": whole["messages"], **answer, "chosen_nll": 100.0, "chosen_tokens": 100, "rejected_nll": 120.0, "rejected_tokens": 100, **given}


def key(given: Values) -> tuple[str, int]:
    name, sample = given["prompt_id"], given["sample"]
    assert isinstance(name, str)
    assert isinstance(sample, int)
    return name, sample


def rules(given: Values) -> list[str]:
    failed = given["failed_rules"]
    assert isinstance(failed, list)
    return failed


def connect(table: str, rows: Sequence[Values], threads: int = 2) -> duckdb.DuckDBPyConnection:
    """A connection whose view `input` holds these rows with the columns of this table, and their position."""
    con = duckdb.connect(config={"threads": threads})
    names = schema(table).column_names
    con.register("literal", pa.Table.from_pylist([{name: value for name, value in each.items() if name in names} for each in rows], schema=schema(table).arrow))
    con.execute("CREATE VIEW input AS SELECT *, row_number() OVER () - 1 AS position FROM literal")
    return con


def checked(decided: Decision, table: str) -> list[Values]:
    """The rows decided, once they have shown to be of this table, types and column order included."""
    schema(table).check(decided.rows, place="test")
    arrow = decided.rows.to_arrow_table()
    assert tuple(arrow.column_names) == schema(table).column_names
    arrow.cast(schema(table).arrow)
    rows: list[Values] = arrow.to_pylist()
    return rows
