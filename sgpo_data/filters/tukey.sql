-- Keep Q1 - k IQR <= a <= Q3 + k IQR, where a is the mean nll of the improved answer or, in the space `ppl`, its exponential.
-- Tukey, Exploratory Data Analysis (1977): k = 1.5 marks what lies outside.

-- One row per row of `judged`: `measure` is in nats per token, or a perplexity.
CREATE OR REPLACE TEMP VIEW measured AS
SELECT
    *,
    CASE
        WHEN isfinite(improved_nll) AND improved_tokens > 0 THEN
            CASE getvariable('ppl.space')
                WHEN 'nll' THEN improved_nll / improved_tokens
                -- exp(709.8) is beyond a double.
                WHEN 'ppl' THEN exp(least(improved_nll / improved_tokens, 700))
            END
    END AS measure
FROM judged;

-- One row per group of rows that fail no other rule. Quartiles are quantile_cont: linear between order statistics (Hyndman and Fan, type 7).
CREATE OR REPLACE TEMP TABLE fences AS
WITH quartiles AS (
    SELECT "group", count(*) AS rows, quantile_cont(measure, 0.25) AS q1, quantile_cont(measure, 0.75) AS q3
    FROM measured
    WHERE len(failed_rules) = 0
    GROUP BY "group"
)
SELECT
    "group",
    rows,
    q1,
    q3,
    CASE WHEN getvariable('ppl.side') = 'upper' THEN '-Infinity' ELSE q1 - getvariable('ppl.k') * (q3 - q1) END AS low,
    CASE WHEN getvariable('ppl.side') = 'lower' THEN 'Infinity'  ELSE q3 + getvariable('ppl.k') * (q3 - q1) END AS high
FROM quartiles;
