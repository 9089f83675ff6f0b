-- Tokens and seconds of each stage.
SELECT
    run,
    phase,
    round,
    stage,
    rows,
    tokens,
    round(seconds, 1)                        AS seconds,
    round(tokens / nullif(seconds, 0))       AS tokens_per_second,
    round(tokens / nullif(rows, 0), 1)       AS tokens_per_row
FROM manifests
ORDER BY created;
