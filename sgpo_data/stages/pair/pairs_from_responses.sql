-- SPIN, arXiv 2401.01335: the reference is preferred to the policy's own answer.
-- One row per whole response whose prompt has a reference that says something else.
CREATE OR REPLACE TEMP VIEW candidates AS
SELECT
    messages                                         AS prompt,
    [{'role': 'assistant', 'content': reference}]    AS chosen,
    [{'role': 'assistant', 'content': response}]     AS rejected,
    prompt_id,
    sample,
    NULL::DOUBLE                                     AS chosen_nll,
    NULL::INTEGER                                    AS chosen_tokens,
    NULL::DOUBLE                                     AS rejected_nll,
    NULL::INTEGER                                    AS rejected_tokens,
    NULL::INTEGER                                    AS edited_words,
    source,
    policy,
    NULL::VARCHAR                                    AS improver,
    NULL::VARCHAR                                    AS scorer,
    position
FROM input
WHERE finish = 'stop' AND regexp_matches(reference, '\S') AND reference != response;
