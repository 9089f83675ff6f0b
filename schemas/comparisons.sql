-- version 1
CREATE TABLE comparisons (
    prompt_id     VARCHAR                                   NOT NULL,
    sample        INTEGER                                   NOT NULL,
    messages      STRUCT("role" VARCHAR, content VARCHAR)[] NOT NULL,
    question      VARCHAR                                   NOT NULL,
    category      VARCHAR,
    first         VARCHAR                                   NOT NULL,
    second        VARCHAR                                   NOT NULL,
    first_answer  VARCHAR                                   NOT NULL,
    second_answer VARCHAR                                   NOT NULL,
    PRIMARY KEY (prompt_id, sample),
    CHECK (len(prompt_id) = 32),
    CHECK (len(messages) > 0),
    CHECK (sample >= 0),
    CHECK (first != second)
);

COMMENT ON TABLE  comparisons               IS 'One row per prompt that two models have answered, and answer of each: what a judge or people are asked.';
COMMENT ON COLUMN comparisons.prompt_id     IS 'First 32 hex digits of the SHA-256 of the canonical JSON of messages.';
COMMENT ON COLUMN comparisons.sample        IS 'Number among the comparisons of the same prompt, from 0.';
COMMENT ON COLUMN comparisons.messages      IS 'The conversation up to the turn that both have answered.';
COMMENT ON COLUMN comparisons.question      IS 'What the set calls the question; of a set that gives it no name, its place from 0.';
COMMENT ON COLUMN comparisons.category      IS 'Category or source that the set puts the question in; null if it has none.';
COMMENT ON COLUMN comparisons.first         IS 'Name of the model whose answer is shown first.';
COMMENT ON COLUMN comparisons.second        IS 'Name of the model whose answer is shown second.';
COMMENT ON COLUMN comparisons.first_answer  IS 'The answer that is shown first.';
COMMENT ON COLUMN comparisons.second_answer IS 'The answer that is shown second.';
