-- Keep low <= reward(improved) - reward(response) <= high, by a reward model that score-ppl was given, or by verdicts that filter was.
-- An upper bound for ablations: SGPO itself has no labels. A row with an answer that was not rewarded is kept.

-- One row per row of `standing`: `measure` is the difference, in the reward model's unit.
CREATE OR REPLACE TEMP MACRO margin_measured(standing) AS TABLE
SELECT
    *,
    CASE WHEN isfinite(improved_reward) AND isfinite(response_reward) THEN improved_reward - response_reward END AS measure,
    'margin'                                                                                                     AS fence
FROM query_table(standing);

-- One row.
CREATE OR REPLACE TEMP MACRO margin_fences(measured) AS TABLE
SELECT
    'margin'                                                        AS fence,
    count(measure)                                                  AS rows,
    false                                                           AS few,
    count(*) - count(measure)                                       AS undefined,
    getvariable('ppl.margin.low')                                   AS low,
    coalesce(getvariable('ppl.margin.high'), 'Infinity'::DOUBLE)    AS high
FROM query_table(measured)
WHERE len(failed_rules) = 0;
