-- How long answers are in each phase and round of a run, and how often the rewrite is the longer one.
SELECT
    run,
    phase,
    round,
    count(*)                                             AS rows,
    round(avg(response_words), 1)                        AS response_words,
    quantile_cont(response_words, 0.95)                  AS response_p95,
    round(avg(improved_words), 1)                        AS improved_words,
    quantile_cont(improved_words, 0.95)                  AS improved_p95,
    round(share(improved_words > response_words), 3)     AS longer,
    round(share(finish = 'length'), 3)                   AS cut
FROM scored
GROUP BY run, phase, round
ORDER BY run, phase, round;
