-- Rewrites that are furthest from their response, both texts side by side.
SELECT
    left(prompt_id, 8)                                                 AS id,
    sample,
    edited_words                                                       AS edited,
    round(edit_share(edited_words, response_words, improved_words), 3) AS edit,
    wrap(response, 30)                                                 AS response,
    wrap(improved, 30)                                                 AS improved
FROM scored
WHERE edited_words IS NOT NULL
ORDER BY edited_words DESC, prompt_id, sample
LIMIT 10;
