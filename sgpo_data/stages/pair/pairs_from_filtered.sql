-- One row per kept row whose improved answer is not the response itself.
CREATE OR REPLACE TEMP VIEW candidates AS
SELECT
    messages                                         AS prompt,
    [{'role': 'assistant', 'content': improved}]     AS chosen,
    [{'role': 'assistant', 'content': response}]     AS rejected,
    prompt_id,
    sample,
    improved_nll                                     AS chosen_nll,
    improved_tokens                                  AS chosen_tokens,
    response_nll                                     AS rejected_nll,
    response_tokens                                  AS rejected_tokens,
    edited_words,
    source,
    policy,
    improver,
    scorer,
    position
FROM input
WHERE dropped_by IS NULL AND improved != response;
