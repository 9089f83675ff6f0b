-- One row per prompt whose reference is replayed: the first by rank of a digest, of all unmarked prompts with a reference, kept or not.
-- `sample` names the row to take it from.
CREATE OR REPLACE TEMP TABLE replayed AS
SELECT prompt_id, min(sample) AS sample
FROM input
WHERE regexp_matches(reference, '\S') AND duplicate_of IS NULL AND contaminated_by IS NULL
GROUP BY prompt_id
ORDER BY md5(concat_ws('/', getvariable('seed'), 'replay', prompt_id)), prompt_id
LIMIT getvariable('replayed');

-- One row per row of `replayed`: answer this prompt as its reference does.
CREATE OR REPLACE TEMP VIEW references_replayed AS
SELECT
    messages                                         AS prompt,
    [{'role': 'assistant', 'content': reference}]    AS completion,
    prompt_id,
    0::INTEGER                                       AS sample,
    'reference'                                      AS kind,
    source,
    NULL::VARCHAR                                    AS policy
FROM input
SEMI JOIN replayed USING (prompt_id, sample);
