-- Keep what lies between two quantiles of a, where a is the mean nll of the improved answer or, in the space `ppl`, its exponential.

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

-- One row per group of rows that fail no other rule. quantile_cont is linear between order statistics (Hyndman and Fan, type 7).
CREATE OR REPLACE TEMP TABLE fences AS
SELECT
    "group",
    count(*) AS rows,
    CASE WHEN getvariable('ppl.side') = 'upper' THEN '-Infinity' ELSE quantile_cont(measure, getvariable('ppl.low'))  END AS low,
    CASE WHEN getvariable('ppl.side') = 'lower' THEN 'Infinity'  ELSE quantile_cont(measure, getvariable('ppl.high')) END AS high
FROM measured
WHERE len(failed_rules) = 0
GROUP BY "group";
