-- A given preference set: both answers came with the prompt.
-- One row per preference of an unmarked prompt whose answers differ.
CREATE OR REPLACE TEMP VIEW candidates AS
SELECT
    messages                                         AS prompt,
    [{'role': 'assistant', 'content': reference}]    AS chosen,
    [{'role': 'assistant', 'content': rejected}]     AS rejected,
    prompt_id,
    sample,
    NULL::DOUBLE                                     AS chosen_nll,
    NULL::INTEGER                                    AS chosen_tokens,
    NULL::DOUBLE                                     AS rejected_nll,
    NULL::INTEGER                                    AS rejected_tokens,
    NULL::INTEGER                                    AS edited_words,
    source,
    NULL::VARCHAR                                    AS policy,
    NULL::VARCHAR                                    AS improver,
    NULL::VARCHAR                                    AS scorer,
    position
FROM input
WHERE regexp_matches(reference, '\S') AND reference != input.rejected
  AND duplicate_of IS NULL AND contaminated_by IS NULL;
