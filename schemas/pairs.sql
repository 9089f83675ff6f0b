-- version 2
CREATE TABLE pairs (
    prompt          STRUCT("role" VARCHAR, content VARCHAR)[] NOT NULL,
    chosen          STRUCT("role" VARCHAR, content VARCHAR)[] NOT NULL,
    rejected        STRUCT("role" VARCHAR, content VARCHAR)[] NOT NULL,
    prompt_id       VARCHAR                                   NOT NULL,
    sample          INTEGER                                   NOT NULL,
    chosen_nll      DOUBLE,
    chosen_tokens   INTEGER,
    rejected_nll    DOUBLE,
    rejected_tokens INTEGER,
    edited_words    INTEGER,
    source          VARCHAR                                   NOT NULL,
    policy          VARCHAR,
    improver        VARCHAR,
    scorer          VARCHAR,
    PRIMARY KEY (prompt_id, sample),
    CHECK (len(prompt) > 0),
    CHECK (len(chosen) = 1 AND chosen[1].role = 'assistant'),
    CHECK (len(rejected) = 1 AND rejected[1].role = 'assistant'),
    CHECK (chosen[1].content != rejected[1].content),
    CHECK (chosen_nll >= 0),
    CHECK (rejected_nll >= 0)
);

COMMENT ON TABLE  pairs                 IS 'One row per preference pair: what trl.DPOTrainer reads, with where it comes from.';
COMMENT ON COLUMN pairs.prompt          IS 'The conversation up to the turn to be answered.';
COMMENT ON COLUMN pairs.chosen          IS 'The better answer, one assistant turn: improved (SGPO), the reference (SPIN), or the given one.';
COMMENT ON COLUMN pairs.rejected        IS 'The worse answer, one assistant turn: the response of the policy, or the given one.';
COMMENT ON COLUMN pairs.prompt_id       IS 'Joins with every earlier table.';
COMMENT ON COLUMN pairs.sample          IS 'Number of the response among those of its prompt, from 0.';
COMMENT ON COLUMN pairs.chosen_nll      IS 'Nats, summed over chosen_tokens, given the prompt, under the scorer; null if it was not scored.';
COMMENT ON COLUMN pairs.chosen_tokens   IS 'Tokens of chosen and its end of turn.';
COMMENT ON COLUMN pairs.rejected_nll    IS 'Nats, summed over rejected_tokens, given the prompt, under the scorer; null if it was not scored.';
COMMENT ON COLUMN pairs.rejected_tokens IS 'Tokens of rejected and its end of turn.';
COMMENT ON COLUMN pairs.edited_words    IS 'Levenshtein distance in words from rejected to chosen; null if it was not measured.';
COMMENT ON COLUMN pairs.source          IS 'Where the prompt was first met.';
COMMENT ON COLUMN pairs.policy          IS 'Identity of the model that wrote rejected; null if it was given.';
COMMENT ON COLUMN pairs.improver        IS 'Identity of the model that wrote chosen; null if it was given.';
COMMENT ON COLUMN pairs.scorer          IS 'Identity of the model that measured the likelihoods; null if none did.';
