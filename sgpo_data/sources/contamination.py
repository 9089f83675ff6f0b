"""Prompts that overlap with given evaluation sets, in word 13-grams."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import duckdb
import polars as pl

from sgpo_data.rows import Message
from sgpo_data.text.ngrams import ngrams, spoken

GRAM_WORDS = 13
"""arXiv 2005.14165, appendix C."""
BATCH_ROWS = 2048

DISTINCT = "SELECT prompt_id, messages FROM found SEMI JOIN (SELECT min(position) AS position FROM found GROUP BY prompt_id) USING (position)"


def mark_contaminated(con: duckdb.DuckDBPyConnection, evaluation: Mapping[str, Iterable[list[Message]]]) -> None:
    """Fills table `contaminated` from table `found`: each prompt that shares a 13-gram with a prompt of an evaluation set, and the first such set.

    Turns are compared, but not those of the system, and no answers. A prompt of fewer words overlaps only with the same words.
    """
    grams = pl.concat([_distinct(number, prompts) for number, prompts in enumerate(evaluation.values())]).group_by("gram").min()
    names = pl.DataFrame({"set": range(len(evaluation)), "contaminated_by": list(evaluation)}, schema={"set": pl.UInt32, "contaminated_by": pl.String})
    for batch in con.cursor().sql(DISTINCT).to_arrow_reader(BATCH_ROWS):
        found = pl.DataFrame({"prompt_id": pl.Series(batch.column("prompt_id")), "gram": _grams(batch.column("messages").to_pylist())})
        sets = found.explode("gram").join(grams, on="gram").group_by("prompt_id").agg(pl.col("set").min())
        con.from_arrow(sets.join(names, on="set").select("prompt_id", "contaminated_by").to_arrow()).insert_into("contaminated")


def _distinct(number: int, prompts: Iterable[list[Message]]) -> pl.DataFrame:
    """The n-grams of a set, each once."""
    found = [_grams(batch).explode().unique() for batch in _batches(prompts)]
    return pl.DataFrame({"gram": pl.concat(found).unique()}).with_columns(set=pl.lit(number, pl.UInt32))


def _batches(prompts: Iterable[list[Message]]) -> Iterator[list[list[Message]]]:
    waiting = iter(prompts)
    while batch := list(islice(waiting, BATCH_ROWS)):
        yield batch


def _grams(batch: list[list[Message]]) -> pl.Series:
    return ngrams(pl.Series([spoken(messages) for messages in batch], dtype=pl.String), GRAM_WORDS)
