-- One row per candidate that is used: the lowest samples of each prompt, then the first by rank of a digest,
-- which is the same in whatever order the rows stand. A null bound is none.
CREATE OR REPLACE TEMP TABLE picked AS
SELECT prompt_id, sample
FROM (
    SELECT prompt_id, sample
    FROM candidates
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY sample) <= coalesce(getvariable('per_prompt'), 2147483647)
)
ORDER BY md5(concat_ws('/', getvariable('seed'), prompt_id, sample)), prompt_id, sample
LIMIT getvariable('limit');
