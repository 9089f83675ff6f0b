"""The rewards that verdicts give to rows: to a rewrite how far it is preferred, from 0 to 1, to its response the rest."""

import duckdb

from sgpo_data.errors import DatasetError
from sgpo_data.store.dataset import Readable

# A pair of texts is known by a digest that does not mind their order, so that no aggregate holds a text. Of a judge that gave no verdict in one of the two
# orders there is none; of several judges or people, the mean. By position, since a join by key would lose the order of the rows.
_INPUT = """
CREATE TEMP MACRO pair_digest(id, one, other) AS
    md5_number(concat(id, '/', length(least(one, other)), '/', least(one, other), '/', greatest(one, other)));

CREATE TEMP TABLE lesser_scores AS
SELECT pair, avg(score) AS score
FROM (
    SELECT
        pair_digest(prompt_id, first_answer, second_answer) AS pair,
        judge,
        CASE WHEN count(first_score) = count(*) THEN avg(CASE WHEN first_answer < second_answer THEN first_score ELSE 1 - first_score END) END AS score
    FROM verdicts
    WHERE first_answer != second_answer
    GROUP BY pair, judge
)
GROUP BY pair;

CREATE TEMP TABLE preferences AS
SELECT rows.position, CASE WHEN improved < response THEN lesser_scores.score ELSE 1 - lesser_scores.score END AS improved
FROM rows
LEFT JOIN lesser_scores ON lesser_scores.pair = pair_digest(prompt_id, improved, response) AND improved != response
ORDER BY rows.position;

SET VARIABLE judges = (SELECT string_agg(DISTINCT judge, '+' ORDER BY judge) FROM verdicts);

CREATE TEMP VIEW input AS
SELECT rows.* REPLACE (
    preferences.improved                                                               AS improved_reward,
    1 - preferences.improved                                                           AS response_reward,
    CASE WHEN preferences.improved IS NOT NULL THEN getvariable('judges')::VARCHAR END AS reward_model
)
FROM rows
POSITIONAL JOIN preferences;
"""


def rewarded_input(con: duckdb.DuckDBPyConnection, source: Readable, verdicts: Readable) -> None:
    """Makes view `input` of the rows, with their rewards.

    Raises DatasetError if the verdicts judge none of the rows, or if the rows have the rewards of a model already.
    """
    source.numbered(con).create_view("rows")
    verdicts.relation(con).create_view("verdicts")
    ((rewarded,),) = con.execute("SELECT any_value(reward_model) FROM rows").fetchall()
    if rewarded is not None:
        raise DatasetError(f"{source.reference}: has rewards of {rewarded} already; leave the verdicts out, or run score-ppl without a reward model")
    con.execute(_INPUT)
    ((astray,),) = con.execute("SELECT count(*) FROM rows POSITIONAL JOIN preferences WHERE rows.position IS DISTINCT FROM preferences.position").fetchall()
    assert not astray, f"{astray} rows have lost their place"
    ((judged,),) = con.execute("SELECT count(improved) FROM preferences").fetchall()
    if not judged:
        raise DatasetError(f"{verdicts.reference}: has no whole verdict on a rewrite of {source.reference}; look at it with: sgpo inspect {verdicts.reference}")
