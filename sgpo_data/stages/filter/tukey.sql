-- Keep Q1 - k IQR <= a <= Q3 + k IQR, where a is the mean nll of the improved answer or, in the space `ppl`, its exponential.
-- Tukey, Exploratory Data Analysis (1977): k = 1.5 marks what lies outside.

-- One row per row of `standing`: `measure` is in nats per token, or a perplexity.
CREATE OR REPLACE TEMP MACRO tukey_measured(standing) AS TABLE
SELECT
    *,
    likelihood(improved_nll, improved_tokens) AS measure,
    "group"                                   AS fence
FROM query_table(standing);

-- One row per group of rows that fail no rule before. Quartiles are quantile_cont: linear between order statistics (Hyndman and Fan, type 7).
CREATE OR REPLACE TEMP MACRO tukey_fences(measured) AS TABLE
WITH quartiles AS (
    SELECT fence, count(*) AS rows, quantile_cont(measure, 0.25) AS q1, quantile_cont(measure, 0.75) AS q3
    FROM query_table(measured)
    WHERE len(failed_rules) = 0
    GROUP BY fence
)
SELECT
    fence,
    rows,
    rows < getvariable('ppl.min_rows') AS few,
    q1,
    q3,
    CASE WHEN getvariable('ppl.side') = 'upper' THEN '-Infinity' ELSE q1 - getvariable('ppl.k') * (q3 - q1) END AS low,
    CASE WHEN getvariable('ppl.side') = 'lower' THEN 'Infinity'  ELSE q3 + getvariable('ppl.k') * (q3 - q1) END AS high
FROM quartiles;
