-- One row per prompt whose reference is replayed: the first by rank of a digest, of all unmarked prompts with a reference, kept or not.
-- `position` is that of the row to take it from, which is the prompt's lowest sample.
CREATE OR REPLACE TEMP TABLE replayed AS
SELECT prompt_id, arg_min(position, sample) AS position
FROM input
WHERE regexp_matches(reference, '\S') AND duplicate_of IS NULL AND contaminated_by IS NULL
GROUP BY prompt_id
ORDER BY md5(concat_ws('/', getvariable('seed'), 'replay', prompt_id)), prompt_id
LIMIT getvariable('replayed');

SET VARIABLE replayed_bits = (SELECT bitstring_agg(position, 0, getvariable('last_position')) FROM replayed);

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
WHERE get_bit(getvariable('replayed_bits'), position::INTEGER) = 1;
