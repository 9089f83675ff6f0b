"""Prompts that nearly repeat another one, found by MinHash and measured by Jaccard."""

from collections.abc import Iterator

import duckdb
import polars as pl
import pyarrow as pa
from rensa import RMinHash  # type: ignore[import-untyped]

from sgpo_data.rows import Message
from sgpo_data.text.ngrams import combined, ngrams, spoken

SHINGLE_WORDS = 3
HASHES = 128
RECALL = 0.95
"""Least share of the pairs at the threshold itself that share a band; of nearer ones it is more."""
BATCH_ROWS = 2048

SKETCHES = "CREATE TABLE sketches (prompt_id VARCHAR, held_out BOOLEAN, shingles UBIGINT[], bands UBIGINT[])"

DISTINCT = "SELECT prompt_id, held_out, messages FROM found SEMI JOIN (SELECT min(position) AS position FROM found GROUP BY prompt_id) USING (position)"

RANKED = """
    -- The order in which a prompt is the first of its like: no row order, no slice has a part in it. What is left out anyway comes
    -- first, so that what nearly repeats it is left out too.
    CREATE TABLE ranked AS
    SELECT prompt_id, row_number() OVER (ORDER BY contaminated_by IS NULL, NOT held_out, prompt_id) AS rank
    FROM sketches LEFT JOIN contaminated USING (prompt_id);

    CREATE TABLE banded AS
    SELECT rank, unnest(bands) AS band
    FROM sketches JOIN ranked USING (prompt_id);
"""
CANDIDATES = """
    -- A band that a hundred thousand prompts share is compared with its first few only: they are alike, or the band says little.
    CREATE TABLE candidates AS
    WITH shared AS (
        SELECT band FROM banded GROUP BY band HAVING count(*) > 1
    ), firsts AS (
        SELECT band, unnest(min(rank, 8)) AS earlier FROM banded SEMI JOIN shared USING (band) GROUP BY band
    )
    SELECT DISTINCT earlier, rank AS later
    FROM firsts JOIN banded USING (band)
    WHERE earlier < rank
"""
ALIKE = """
    WITH shingled AS (
        SELECT rank, shingles FROM sketches JOIN ranked USING (prompt_id)
    ), compared AS (
        SELECT later, earlier, a.shingles AS a, b.shingles AS b, len(list_intersect(a.shingles, b.shingles)) AS common
        FROM candidates JOIN shingled AS a ON a.rank = earlier JOIN shingled AS b ON b.rank = later
    )
    SELECT later, earlier
    FROM compared
    WHERE common >= $threshold * (list_unique(a) + list_unique(b) - common)
    ORDER BY later, earlier
"""
MARKED = """
    INSERT INTO duplicates
    SELECT later.prompt_id, earlier.prompt_id
    FROM pairs JOIN ranked AS later ON later.rank = pairs.later JOIN ranked AS earlier ON earlier.rank = pairs.earlier
"""


def mark_near_duplicates(con: duckdb.DuckDBPyConnection, threshold: float) -> None:
    """Fills table `duplicates` from table `found`: each prompt that is to be left out, and the first one it repeats.

    Two prompts are compared if their system turns are the same; alike are those whose word 3-grams have a Jaccard similarity of at least
    `threshold`. Prompts that table `contaminated` names come first, then those held out, then the rest, each by prompt_id; a prompt is a
    duplicate of the first one before it that is alike and is no duplicate itself.
    """
    con.execute(SKETCHES)
    for sketched in _sketches(con, threshold):
        con.from_arrow(sketched).insert_into("sketches")
    con.execute(RANKED)
    con.execute(CANDIDATES)
    first: dict[int, int] = {}
    for batch in con.sql(ALIKE, params={"threshold": threshold}).to_arrow_reader(BATCH_ROWS):
        for later, earlier in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if later not in first and earlier not in first:
                first[later] = earlier
    con.register("pairs", pa.table({"later": pa.array(first.keys(), pa.int64()), "earlier": pa.array(first.values(), pa.int64())}))
    con.execute(MARKED)
    con.unregister("pairs")
    for table in ("sketches", "ranked", "banded", "candidates"):
        con.execute(f"DROP TABLE {table}")


def _sketches(con: duckdb.DuckDBPyConnection, threshold: float) -> Iterator[pa.Table]:
    size = band_size(threshold)
    for batch in con.cursor().sql(DISTINCT).to_arrow_reader(BATCH_ROWS):
        messages: list[list[Message]] = batch.column("messages").to_pylist()
        shingles = ngrams(pl.Series([spoken(each) for each in messages], dtype=pl.String), SHINGLE_WORDS)
        system = pl.Series([[turn["content"] for turn in each if turn["role"] == "system"] for each in messages], dtype=pl.List(pl.String))
        columns = {"prompt_id": pl.Series(batch.column("prompt_id")), "held_out": pl.Series(batch.column("held_out"))}
        yield pl.DataFrame({**columns, "shingles": shingles, "bands": _bands(shingles, system, size)}).to_arrow()


def _bands(shingles: pl.Series, system: pl.Series, size: int) -> pl.Series:
    """The bands of each MinHash signature, hashed with their place and the system turns."""
    offsets = [0, *shingles.list.len().cum_sum()]
    signatures = RMinHash.digest_matrix_from_flat_token_hashes(shingles.explode().to_list(), offsets, HASHES, 0).to_rows()
    wide = pl.DataFrame({"signature": pl.Series(signatures, dtype=pl.Array(pl.UInt32, HASHES)), "system": system.list.join("\n").hash()})
    starts = range(0, HASHES - size + 1, size)
    bands = [
        combined([pl.col("system"), pl.lit(start, pl.UInt64), *(pl.col("signature").arr.get(at) for at in range(start, start + size))]) for start in starts
    ]
    return wide.select(bands=pl.concat_list(bands))["bands"]


def band_size(threshold: float) -> int:
    """Most hashes a band can have so that enough pairs at the threshold share one: the longer a band, the fewer pairs are compared in vain."""
    sizes = range(HASHES, 0, -1)
    return next(size for size in sizes if 1 - (1 - threshold**size) ** (HASHES // size) >= RECALL)
