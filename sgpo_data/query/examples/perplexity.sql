-- Quantiles of the perplexity of response, rewrite and reference, by the role of the improver.
WITH long AS (
    SELECT "role", 'response' AS text, perplexity(response_nll, response_tokens) AS ppl FROM scored
    UNION ALL
    SELECT "role", 'improved', perplexity(improved_nll, improved_tokens) FROM scored
    UNION ALL
    SELECT "role", 'reference', perplexity(reference_nll, reference_tokens) FROM scored
)
SELECT
    "role",
    text,
    count(ppl)                          AS rows,
    round(quantile_cont(ppl, 0.05), 2)  AS p5,
    round(quantile_cont(ppl, 0.25), 2)  AS p25,
    round(quantile_cont(ppl, 0.50), 2)  AS median,
    round(quantile_cont(ppl, 0.75), 2)  AS p75,
    round(quantile_cont(ppl, 0.95), 2)  AS p95
FROM long
WHERE ppl IS NOT NULL
GROUP BY "role", text
ORDER BY "role", text;
