-- Keep low <= rho <= high, where rho = (a(improved) - a(response)) / (a(reference) - a(response)) and a is a mean nll: the way from the response
-- to the reference that the rewrite has gone. Near 0 nothing has moved; from 1 on it is no nearer to the policy than the reference.
-- rho is undefined without a response or a reference that was scored, and where those two are less than min_gap nats per token apart.
-- What then holds, `undefined` says: keep; drop; or tukey, the fences of tukey.sql among the rows without rho.

-- One row per row of `standing`: `measure` is rho; without it the likelihood (tukey), more than any bound (drop), or null (keep).
CREATE OR REPLACE TEMP MACRO sandwich_measured(standing) AS TABLE
SELECT
    * EXCLUDE (alone, moved, gap, rho),
    CASE
        WHEN rho IS NOT NULL THEN rho
        -- A row without a likelihood is `unscored`, not undefined.
        WHEN alone IS NULL THEN NULL
        WHEN getvariable('ppl.sandwich.undefined') = 'tukey' THEN likelihood(improved_nll, improved_tokens)
        WHEN getvariable('ppl.sandwich.undefined') = 'drop' THEN 'Infinity'
    END                                                                                                         AS measure,
    CASE WHEN rho IS NULL AND getvariable('ppl.sandwich.undefined') = 'tukey' THEN "group" ELSE 'rho' END       AS fence
FROM (
    SELECT *, CASE WHEN abs(gap) >= getvariable('ppl.sandwich.min_gap') THEN moved / gap END AS rho
    FROM (
        SELECT
            *,
            mean_nll(improved_nll, improved_tokens)                                             AS alone,
            alone - mean_nll(response_nll, response_tokens)                                     AS moved,
            mean_nll(reference_nll, reference_tokens) - mean_nll(response_nll, response_tokens) AS gap
        FROM query_table(standing)
    )
);

-- One row for rho and, if `undefined` is tukey, one per group of rows without it; of the rows that fail no rule before.
CREATE OR REPLACE TEMP MACRO sandwich_fences(measured) AS TABLE
WITH reached AS (
    SELECT fence, measure
    FROM query_table(measured)
    WHERE len(failed_rules) = 0
),
quartiles AS (
    SELECT fence, count(*) AS rows, quantile_cont(measure, 0.25) AS q1, quantile_cont(measure, 0.75) AS q3
    FROM reached
    WHERE fence != 'rho'
    GROUP BY fence
)
SELECT
    'rho'                                                        AS fence,
    count(*) FILTER (WHERE fence = 'rho' AND isfinite(measure))  AS rows,
    false                                                        AS few,
    count(*) - rows                                              AS undefined,
    getvariable('ppl.sandwich.low')                              AS low,
    getvariable('ppl.sandwich.high')                             AS high
FROM reached
UNION ALL BY NAME
SELECT
    fence,
    rows,
    rows < getvariable('ppl.min_rows') AS few,
    q1,
    q3,
    CASE WHEN getvariable('ppl.side') = 'upper' THEN '-Infinity' ELSE q1 - getvariable('ppl.k') * (q3 - q1) END AS low,
    CASE WHEN getvariable('ppl.side') = 'lower' THEN 'Infinity'  ELSE q3 + getvariable('ppl.k') * (q3 - q1) END AS high
FROM quartiles;
