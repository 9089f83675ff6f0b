-- Keep low <= perplexity(improved | improver_prompt) / perplexity(improved | messages) <= high.
-- Near 1 the draft was of no use to the rewrite; near 0 it was copied. A row whose rewrite was not scored in both contexts is kept.

-- One row per row of `standing`: `measure` is the ratio. Both likelihoods are over the same tokens.
CREATE OR REPLACE TEMP MACRO ratio_measured(standing) AS TABLE
SELECT
    * EXCLUDE (given_draft, alone),
    -- exp(709.8) is beyond a double; least() would take null for none.
    exp(CASE WHEN given_draft - alone > 700 THEN 700 ELSE given_draft - alone END) AS measure,
    'ratio'                                                                        AS fence
FROM (
    SELECT *, mean_nll(improved_nll_given_draft, improved_tokens) AS given_draft, mean_nll(improved_nll, improved_tokens) AS alone
    FROM query_table(standing)
);

-- One row.
CREATE OR REPLACE TEMP MACRO ratio_fences(measured) AS TABLE
SELECT
    'ratio'                             AS fence,
    count(measure)                      AS rows,
    false                               AS few,
    count(*) - count(measure)           AS undefined,
    getvariable('ppl.ratio.low')        AS low,
    getvariable('ppl.ratio.high')       AS high
FROM query_table(measured)
WHERE len(failed_rules) = 0;
