-- What one prompt was answered in each phase and round; --set prompt_id=ID, else the first prompt there is.
SELECT
    run,
    phase,
    round,
    sample,
    wrap(last_turn(messages), 24)                              AS prompt,
    wrap(response, 24)                                         AS response,
    wrap(improved, 24)                                         AS improved,
    round(perplexity(response_nll, response_tokens), 2)        AS response_ppl,
    round(perplexity(improved_nll, improved_tokens), 2)        AS improved_ppl
FROM scored
WHERE prompt_id = coalesce(getvariable('prompt_id'), (SELECT min(prompt_id) FROM scored))
ORDER BY run, phase, round, sample;
