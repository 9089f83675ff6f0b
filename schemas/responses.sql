-- version 2
-- Each table below prompts extends the one that its foreign key names, row by row: it has all columns of that table, and these.
CREATE TABLE responses (
    prompt_id      VARCHAR NOT NULL,
    sample         INTEGER NOT NULL,
    response       VARCHAR,
    finish         VARCHAR NOT NULL,
    sampled_nll    DOUBLE,
    sampled_tokens INTEGER,
    policy         VARCHAR NOT NULL,
    PRIMARY KEY (prompt_id, sample),
    FOREIGN KEY (prompt_id, sample) REFERENCES prompts (prompt_id, sample),
    CHECK (finish IN ('stop', 'length', 'empty', 'too_long', 'refused', 'duplicate', 'contaminated')),
    CHECK ((response IS NULL) = (finish IN ('too_long', 'refused', 'duplicate', 'contaminated'))),
    CHECK (sampled_nll >= 0 AND isfinite(sampled_nll)),
    CHECK (sampled_tokens >= 1)
);

COMMENT ON TABLE  responses                IS 'One row per prompt and sample: what the policy answered, or why it did not.';
COMMENT ON COLUMN responses.sample         IS 'Number of the answer among those of its prompt, from 0.';
COMMENT ON COLUMN responses.response       IS 'The answer, without special tokens; null if nothing was generated.';
COMMENT ON COLUMN responses.finish         IS 'stop: the model ended its turn; length: cut at max_tokens or the context; empty: no text; too_long: the prompt does not fit the context; refused: the engine would not take it; duplicate, contaminated: the prompt is marked so, and nothing was asked.';
COMMENT ON COLUMN responses.sampled_nll    IS 'Nats, summed over the sampled tokens: -ln p under the policy at temperature 1, before top-p and top-k.';
COMMENT ON COLUMN responses.sampled_tokens IS 'Tokens sampled, the end of turn included.';
COMMENT ON COLUMN responses.policy         IS 'Identity of the model that wrote the response.';
