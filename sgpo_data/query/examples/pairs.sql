-- Preference pairs as they are trained on, chosen and rejected side by side.
SELECT
    left(prompt_id, 8)            AS id,
    wrap(last_turn(prompt), 24)   AS prompt,
    wrap(last_turn(chosen), 28)   AS chosen,
    wrap(last_turn(rejected), 28) AS rejected
FROM pairs
ORDER BY prompt_id, sample
LIMIT 10;
