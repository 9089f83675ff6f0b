-- Rows that other fences on the perplexity would keep, by policy: Tukey's rule for several k, on the rows that fail nothing else.
WITH judged AS (
    SELECT policy, "role", improved_nll / improved_tokens AS nats, dropped_by IS NULL AS kept
    FROM filtered
    WHERE len(list_filter(failed_rules, lambda rule: rule != 'ppl')) = 0
),
quartiles AS (
    SELECT policy, "role", quantile_cont(nats, 0.25) AS q1, quantile_cont(nats, 0.75) AS q3
    FROM judged
    GROUP BY policy, "role"
),
fences AS (
    SELECT policy, "role", k, q1 - k * (q3 - q1) AS lower, q3 + k * (q3 - q1) AS upper
    FROM quartiles, (SELECT unnest([0.5, 1.0, 1.5, 2.0, 3.0]) AS k)
)
SELECT
    policy,
    "role",
    k,
    round(lower, 4)                                                                AS lower,
    round(upper, 4)                                                                AS upper,
    count_if(kept)                                                                 AS keeps,
    count_if(nats BETWEEN lower AND upper)                                         AS would_keep,
    count_if(kept IS DISTINCT FROM coalesce(nats BETWEEN lower AND upper, false))  AS changed
FROM judged JOIN fences USING (policy, "role")
GROUP BY ALL
ORDER BY policy, "role", k;
