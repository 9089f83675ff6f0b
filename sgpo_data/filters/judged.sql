-- One row per row of `gated`: all rules it fails but `ppl`, in their order.
CREATE OR REPLACE TEMP VIEW judged AS
SELECT
    *,
    list_concat(failed_gates, list_filter([
        CASE
            WHEN is_repeated(prompt_id, sample)
            THEN 'unique'
        END,
        -- An unfinished row has its own rule, so that a null here means a finished answer which the scorer could not take.
        CASE
            WHEN finish = 'stop' AND improved_finish = 'stop'
             AND NOT coalesce(isfinite(improved_nll) AND improved_tokens > 0 AND edited_words IS NOT NULL, false)
            THEN 'unscored'
        END,
        CASE
            WHEN improved_tokens < getvariable('ppl.min_tokens')
            THEN 'too_short'
        END
    ], lambda rule: rule IS NOT NULL)) AS failed_rules
FROM gated;
