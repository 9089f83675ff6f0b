-- Rows on either side of the upper fence of the perplexity, by policy: the last ones kept, and the first ones dropped by it alone.
WITH judged AS (
    SELECT
        *,
        improved_nll / improved_tokens                                                          AS nats,
        max(nats) FILTER (WHERE dropped_by IS NULL) OVER (PARTITION BY policy, "role")          AS last_kept
    FROM filtered
    WHERE improved_nll IS NOT NULL AND (dropped_by IS NULL OR failed_rules = ['ppl'])
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY policy, "role", dropped_by ORDER BY abs(nats - last_kept), prompt_id, sample) AS place
    FROM judged
    WHERE dropped_by IS NULL OR nats > last_kept
)
SELECT
    policy,
    "role",
    coalesce(dropped_by, 'kept')                         AS outcome,
    round(nats, 4)                                       AS nats_per_token,
    round(perplexity(improved_nll, improved_tokens), 2)  AS ppl,
    prompt_id,
    sample,
    improved
FROM ranked
WHERE place <= 5
ORDER BY policy, "role", nats, prompt_id, sample;
