-- Why rows are dropped, with what the rules look at; --set prompt_id=ID for one prompt, --set rule=NAME for one rule.
SELECT
    prompt_id,
    sample,
    failed_rules,
    finish,
    improved_finish,
    round(edit_share(edited_words, response_words, improved_words), 3)           AS edit,
    round(edit_share(reference_edited_words, reference_words, improved_words), 3) AS reference_edit,
    round(improved_words / nullif(response_words, 0), 2)                         AS length_ratio,
    round(improved_nll / improved_tokens, 3)                                     AS nats_per_token,
    residue,
    response,
    improved
FROM filtered
WHERE dropped_by IS NOT NULL
  AND prompt_id = coalesce(getvariable('prompt_id'), prompt_id)
  AND list_contains(failed_rules, coalesce(getvariable('rule'), dropped_by))
ORDER BY prompt_id, sample
LIMIT 20;
