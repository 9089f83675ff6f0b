-- One row per reference of an unmarked prompt: answer as it does.
CREATE OR REPLACE TEMP VIEW candidates AS
SELECT
    messages                                         AS prompt,
    [{'role': 'assistant', 'content': reference}]    AS completion,
    prompt_id,
    sample,
    'reference'                                      AS kind,
    source,
    NULL::VARCHAR                                    AS policy,
    position
FROM input
WHERE regexp_matches(reference, '\S')
  AND duplicate_of IS NULL AND contaminated_by IS NULL;
