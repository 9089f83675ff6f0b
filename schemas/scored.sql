-- version 2
-- Sums and counts only: mean nll, perplexity and shares are derived where they are used.
CREATE TABLE scored (
    prompt_id                VARCHAR,
    sample                   INTEGER,
    response_nll             DOUBLE,
    response_tokens          INTEGER,
    improved_nll             DOUBLE,
    improved_tokens          INTEGER,
    reference_nll            DOUBLE,
    reference_tokens         INTEGER,
    improved_nll_given_draft DOUBLE,
    scorer                   VARCHAR NOT NULL,
    response_words           INTEGER,
    improved_words           INTEGER,
    reference_words          INTEGER,
    edited_words             INTEGER,
    reference_edited_words   INTEGER,
    response_repeats         INTEGER,
    improved_repeats         INTEGER,
    residue                  VARCHAR,
    response_reward          DOUBLE,
    improved_reward          DOUBLE,
    reward_model             VARCHAR,
    PRIMARY KEY (prompt_id, sample),
    FOREIGN KEY (prompt_id, sample) REFERENCES improved (prompt_id, sample),
    CHECK (response_nll >= 0 AND isfinite(response_nll)),
    CHECK (improved_nll >= 0 AND isfinite(improved_nll)),
    CHECK (reference_nll >= 0 AND isfinite(reference_nll)),
    CHECK (improved_nll_given_draft >= 0 AND isfinite(improved_nll_given_draft)),
    CHECK (isfinite(response_reward)),
    CHECK (isfinite(improved_reward)),
    CHECK (reward_model IS NOT NULL OR (response_reward IS NULL AND improved_reward IS NULL)),
    CHECK (response_tokens >= 1),
    CHECK (improved_tokens >= 1),
    CHECK (reference_tokens >= 1),
    CHECK (edited_words BETWEEN 0 AND greatest(response_words, improved_words)),
    CHECK (reference_edited_words BETWEEN 0 AND greatest(reference_words, improved_words))
);

COMMENT ON TABLE  scored                          IS 'One row per prompt and sample: all that is measured; what is decided comes with filtered.';
COMMENT ON COLUMN scored.response_nll             IS 'Nats, summed over response_tokens: -ln p(response | messages) under the scorer, in its chat template; null if the text is null or has characters that the tokenizer does not know, or if the pair does not fit the context.';
COMMENT ON COLUMN scored.response_tokens          IS 'Tokens of the response and its end of turn; template and prompt tokens do not count.';
COMMENT ON COLUMN scored.improved_nll             IS 'Nats: -ln p(improved | messages) under the scorer; null as response_nll is.';
COMMENT ON COLUMN scored.improved_tokens          IS 'Tokens of the improved answer and its end of turn.';
COMMENT ON COLUMN scored.reference_nll            IS 'Nats: -ln p(reference | messages) under the scorer; null as response_nll is.';
COMMENT ON COLUMN scored.reference_tokens         IS 'Tokens of the reference and its end of turn.';
COMMENT ON COLUMN scored.improved_nll_given_draft IS 'Nats, over improved_tokens: -ln p(improved | improver_prompt) under the scorer.';
COMMENT ON COLUMN scored.scorer                   IS 'Identity of the model that measured the likelihoods.';
COMMENT ON COLUMN scored.response_words           IS 'Words, where each mark of punctuation and each character of a script without spaces is a word of its own.';
COMMENT ON COLUMN scored.improved_words           IS 'Words of the improved answer.';
COMMENT ON COLUMN scored.reference_words          IS 'Words of the reference.';
COMMENT ON COLUMN scored.edited_words             IS 'Levenshtein distance in words from response to improved.';
COMMENT ON COLUMN scored.reference_edited_words   IS 'Levenshtein distance in words from reference to improved.';
COMMENT ON COLUMN scored.response_repeats         IS 'Word 4-grams of the response that stood in it before.';
COMMENT ON COLUMN scored.improved_repeats         IS 'Word 4-grams of the improved answer that stood in it before.';
COMMENT ON COLUMN scored.residue                  IS 'The first template token, words of the improve or refine template, or talk about the rewrite, found in response or improved; null if none.';
COMMENT ON COLUMN scored.response_reward          IS 'What the reward model gives the response as an answer to messages, in its own unit; null without a reward model, without a text, or if the pair does not fit its context.';
COMMENT ON COLUMN scored.improved_reward          IS 'What the reward model gives the improved answer.';
COMMENT ON COLUMN scored.reward_model             IS 'Identity of the reward model; null if it was asked nothing.';
