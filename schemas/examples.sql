-- version 2
CREATE TABLE examples (
    prompt     STRUCT("role" VARCHAR, content VARCHAR)[] NOT NULL,
    completion STRUCT("role" VARCHAR, content VARCHAR)[] NOT NULL,
    prompt_id  VARCHAR                                   NOT NULL,
    sample     INTEGER                                   NOT NULL,
    kind       VARCHAR                                   NOT NULL,
    source     VARCHAR                                   NOT NULL,
    policy     VARCHAR,
    PRIMARY KEY (prompt_id, sample, kind),
    CHECK (len(prompt) > 0),
    CHECK (len(completion) = 1 AND completion[1].role = 'assistant'),
    CHECK (kind IN ('improve', 'reference')),
    CHECK ((kind = 'improve') = (policy IS NOT NULL))
);

COMMENT ON TABLE  examples            IS 'One row per training example: what trl.SFTTrainer reads, with where it comes from.';
COMMENT ON COLUMN examples.prompt     IS 'The conversation up to the turn to be learned: improver_prompt (improve) or messages (reference).';
COMMENT ON COLUMN examples.completion IS 'The turn to be learned, one assistant turn: improved (improve) or the reference.';
COMMENT ON COLUMN examples.prompt_id  IS 'Joins with every earlier table.';
COMMENT ON COLUMN examples.sample     IS 'Number of the response, or of the reference, among those of its prompt, from 0.';
COMMENT ON COLUMN examples.kind       IS 'improve: rewrite this draft; reference: answer this prompt as the reference does (plain SFT, or replay beside improve).';
COMMENT ON COLUMN examples.source     IS 'Where the prompt was first met.';
COMMENT ON COLUMN examples.policy     IS 'Identity of the model that wrote the completion; null for a reference.';
