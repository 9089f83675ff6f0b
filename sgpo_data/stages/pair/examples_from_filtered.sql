-- One row per kept row: rewrite this draft.
CREATE OR REPLACE TEMP VIEW candidates AS
SELECT
    improver_prompt                                  AS prompt,
    [{'role': 'assistant', 'content': improved}]     AS completion,
    prompt_id,
    sample,
    'improve'                                        AS kind,
    source,
    improver                                         AS policy,
    position
FROM input
WHERE dropped_by IS NULL AND improved IS NOT NULL AND improver_prompt IS NOT NULL;
