-- One row, with a bit for each position of `input`: 1 for a candidate that is used, which are the lowest samples of each prompt, and of those the first
-- by rank of a digest, which is the same in whatever order the rows stand. A null bound is none.
-- Positions stand for the rows, because a join would lose their order, and sorting them again would cost a sort of all texts.
CREATE OR REPLACE TEMP TABLE picked AS
SELECT bitstring_agg(position, 0, getvariable('last_position')) AS bits
FROM (
    SELECT prompt_id, sample, position
    FROM (
        SELECT prompt_id, sample, position
        FROM candidates
        QUALIFY getvariable('per_prompt') IS NULL OR row_number() OVER (PARTITION BY prompt_id ORDER BY sample) <= getvariable('per_prompt')
    )
    ORDER BY md5(concat_ws('/', getvariable('seed'), prompt_id, sample)), prompt_id, sample
    LIMIT getvariable('limit')
);

SET VARIABLE picked = (SELECT bits FROM picked);
