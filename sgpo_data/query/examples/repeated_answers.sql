-- Answers that are given most often, which a model that has collapsed repeats.
SELECT
    count(*)                  AS rows,
    count(DISTINCT prompt_id) AS prompts,
    response
FROM responses
WHERE response IS NOT NULL
GROUP BY response
HAVING rows > 1
ORDER BY rows DESC, response
LIMIT 20;
