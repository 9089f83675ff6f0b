-- Nats per token; null without a likelihood.
CREATE OR REPLACE TEMP MACRO mean_nll(nll, tokens) AS
CASE WHEN isfinite(nll) AND tokens > 0 THEN nll / tokens END;

-- The same or, in the space `ppl`, the perplexity. exp(709.8) is beyond a double.
CREATE OR REPLACE TEMP MACRO likelihood(nll, tokens) AS
CASE getvariable('ppl.space')
    WHEN 'nll' THEN mean_nll(nll, tokens)
    WHEN 'ppl' THEN exp(CASE WHEN mean_nll(nll, tokens) > 700 THEN 700 ELSE mean_nll(nll, tokens) END)
END;

-- One row per row of `gated`: all rules it fails but those of the strategies, in their order.
CREATE OR REPLACE TEMP VIEW judged AS
SELECT
    *,
    list_concat(failed_gates, list_filter([
        CASE
            WHEN get_bit(getvariable('repeated'), position::INTEGER) = 1
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
