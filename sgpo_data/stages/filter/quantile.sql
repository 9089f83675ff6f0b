-- Keep what lies between two quantiles of a, where a is the mean nll of the improved answer or, in the space `ppl`, its exponential.

-- One row per row of `standing`: `measure` is in nats per token, or a perplexity.
CREATE OR REPLACE TEMP MACRO quantile_measured(standing) AS TABLE
SELECT
    *,
    likelihood(improved_nll, improved_tokens) AS measure,
    "group"                                   AS fence
FROM query_table(standing);

-- One row per group of rows that fail no rule before. quantile_cont is linear between order statistics (Hyndman and Fan, type 7).
CREATE OR REPLACE TEMP MACRO quantile_fences(measured) AS TABLE
SELECT
    fence,
    count(*)                               AS rows,
    count(*) < getvariable('ppl.min_rows') AS few,
    CASE WHEN getvariable('ppl.side') = 'upper' THEN '-Infinity' ELSE quantile_cont(measure, getvariable('ppl.low'))  END AS low,
    CASE WHEN getvariable('ppl.side') = 'lower' THEN 'Infinity'  ELSE quantile_cont(measure, getvariable('ppl.high')) END AS high
FROM query_table(measured)
WHERE len(failed_rules) = 0
GROUP BY fence;
