-- version 3
-- A prompt is told apart by its messages alone: the answers that come with it do not make another prompt.
CREATE TABLE prompts (
    prompt_id       VARCHAR                                   NOT NULL,
    messages        STRUCT("role" VARCHAR, content VARCHAR)[] NOT NULL,
    reference       VARCHAR,
    rejected        VARCHAR,
    source          VARCHAR                                   NOT NULL,
    count           BIGINT                                    NOT NULL,
    duplicate_of    VARCHAR,
    contaminated_by VARCHAR,
    sample          INTEGER                                   NOT NULL,
    PRIMARY KEY (prompt_id, sample),
    CHECK (len(prompt_id) = 32),
    CHECK (len(messages) > 0),
    CHECK (messages[-1].role != 'assistant'),
    CHECK (count >= 1),
    CHECK (duplicate_of != prompt_id),
    CHECK (sample >= 0)
);

COMMENT ON TABLE  prompts                 IS 'One row per prompt and answer that came with it; exact duplicates are merged and counted.';
COMMENT ON COLUMN prompts.prompt_id       IS 'First 32 hex digits of the SHA-256 of the canonical JSON of messages.';
COMMENT ON COLUMN prompts.messages        IS 'The conversation up to the turn to be answered: system, user and earlier assistant turns.';
COMMENT ON COLUMN prompts.reference       IS 'The good answer that came with the prompt (SFT answer, or chosen of a preference set); null if none came.';
COMMENT ON COLUMN prompts.rejected        IS 'The worse answer of a given preference set; null elsewhere.';
COMMENT ON COLUMN prompts.source          IS 'Where the prompt was first met: file name or Hub dataset.';
COMMENT ON COLUMN prompts.count           IS 'How many rows of the source had these messages and answers; those without any answer count with the first that has one.';
COMMENT ON COLUMN prompts.duplicate_of    IS 'The prompt_id that this prompt nearly repeats, of the same source: left out for it; null if it stands for itself or was not looked at.';
COMMENT ON COLUMN prompts.contaminated_by IS 'Name of the evaluation set whose prompts this one overlaps with in 13 words; null if it overlaps with none that was given.';
COMMENT ON COLUMN prompts.sample          IS 'Number of the answer among those that came with this prompt, from 0; a preference is one.';
