"""Which prompts of what was read are taken, in which order, and how many of each source."""

import logging
from collections.abc import Sequence

import duckdb

from sgpo_data.errors import RecipeError
from sgpo_data.sources.options import Source

log = logging.getLogger(__name__)

PICKED = """
    -- A prompt with several answers has a row for each; a row without any is merged with the first of them, as equal rows are.
    WITH answered AS (
        SELECT prompt_id, reference, rejected, min(position) AS position, min(origin) AS origin, count(*) AS count
        FROM found
        WHERE held_out = $held_out
        GROUP BY prompt_id, reference, rejected
    ), numbered AS (
        SELECT
            *,
            reference IS NULL AND rejected IS NULL                                                                            AS bare,
            row_number() OVER (PARTITION BY prompt_id ORDER BY bare, position) - 1                                            AS sample,
            CASE WHEN sample = 0 THEN coalesce(sum(count) FILTER (WHERE bare) OVER (PARTITION BY prompt_id), 0) ELSE 0 END    AS merged
        FROM answered
    ), ranked AS (
        SELECT
            prompt_id,
            min(origin)                                                                    AS origin,
            min(position)                                                                  AS first,
            CASE WHEN $seed IS NOT NULL THEN sha256($seed::VARCHAR || '/' || prompt_id) END AS rank
        FROM answered
        GROUP BY prompt_id
    ), picked AS ({picked})
    SELECT
        prompt_id, messages, reference, rejected, source,
        (CASE WHEN numbered.bare THEN merged ELSE numbered.count + merged END)::BIGINT AS count,
        duplicates.duplicate_of, contaminated.contaminated_by, numbered.sample::INTEGER AS sample
    FROM found JOIN (SELECT position, sample, count, merged, bare FROM numbered) AS numbered USING (position) JOIN picked USING (prompt_id)
        LEFT JOIN duplicates USING (prompt_id) LEFT JOIN contaminated USING (prompt_id)
    WHERE numbered.sample = 0 OR NOT numbered.bare
    ORDER BY rank, first, numbered.sample
"""
OF_ONE = "SELECT * FROM ranked ORDER BY rank, first LIMIT $limit OFFSET $offset"
OF_SEVERAL = """
        SELECT ranked.*
        FROM ranked JOIN slices USING (origin)
        -- Sources are read in their order, so a prompt that several hold is of the one that is named first.
        QUALIFY row_number() OVER (PARTITION BY origin ORDER BY rank, first) BETWEEN slices.skipped + 1 AND slices.skipped + slices.taken
"""
HELD = """
    SELECT origin, count(*)
    FROM (SELECT min(origin) AS origin FROM found WHERE held_out = $held_out GROUP BY prompt_id)
    GROUP BY origin
"""


def pick(con: duckdb.DuckDBPyConnection, sources: Sequence[Source]) -> duckdb.DuckDBPyRelation:
    """The rows of table prompts that the options of these sources take, the first one saying what is for all of them.

    Raises RecipeError if a source has too few prompts for any share of them.
    """
    first = sources[0]
    options: dict[str, object] = {"seed": first.shuffle_seed, "held_out": first.take == "held_out"}
    if len(sources) == 1:
        return con.sql(PICKED.format(picked=OF_ONE), params={**options, "limit": first.limit, "offset": first.offset})
    held = dict(con.execute(HELD, {"held_out": options["held_out"]}).fetchall())
    left = [max(held.get(origin, 0) - source.offset, 0) for origin, source in enumerate(sources)]
    taken = [each if source.limit is None else min(each, source.limit) for each, source in zip(left, sources, strict=True)]
    if first.share is not None:
        shares = [source.share or 0.0 for source in sources]
        taken = quotas(int(min(each / share for each, share in zip(left, shares, strict=True)) + TOLERANCE), shares)
        if not all(taken):
            raise RecipeError(f"source.share: the sources have {', '.join(map(str, left))} prompts, too few for one of each in these shares")
    log.info("prompts of each source, in their order: %s", ", ".join(map(str, taken)))
    con.execute("CREATE TABLE slices (origin INTEGER, skipped BIGINT, taken BIGINT)")
    con.executemany("INSERT INTO slices VALUES (?, ?, ?)", [(origin, source.offset, taken[origin]) for origin, source in enumerate(sources)])
    return con.sql(PICKED.format(picked=OF_SEVERAL), params=options)


TOLERANCE = 1e-6
"""Of shares that are no binary fractions."""


def quotas(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers in these shares that add up to the total, by largest remainder; equal ones go to those that come first."""
    whole = [int(total * share + TOLERANCE) for share in shares]
    order = sorted(range(len(shares)), key=lambda place: whole[place] - total * shares[place])
    for place in order[: total - sum(whole)]:
        whole[place] += 1
    return whole
