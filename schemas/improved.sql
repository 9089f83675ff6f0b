-- version 2
CREATE TABLE improved (
    prompt_id        VARCHAR,
    sample           INTEGER,
    improved         VARCHAR,
    improved_finish  VARCHAR NOT NULL,
    improver         VARCHAR NOT NULL,
    "role"           VARCHAR NOT NULL,
    improver_prompt  STRUCT("role" VARCHAR, content VARCHAR)[],
    improve_template VARCHAR NOT NULL,
    refine_template  VARCHAR,
    PRIMARY KEY (prompt_id, sample),
    FOREIGN KEY (prompt_id, sample) REFERENCES responses (prompt_id, sample),
    CHECK (improved_finish IN ('stop', 'length', 'empty', 'too_long', 'refused', 'no_response', 'no_reference')),
    CHECK ((improved IS NULL) = (improved_finish NOT IN ('stop', 'length', 'empty'))),
    CHECK ("role" IN ('refine', 'improve')),
    CHECK ((improver_prompt IS NULL) = (improved_finish = 'no_response')),
    CHECK (("role" = 'refine') = (refine_template IS NOT NULL))
);

COMMENT ON TABLE  improved                  IS 'One row per prompt and sample: the response, and what the improver made of it.';
COMMENT ON COLUMN improved.improved         IS 'The rewritten answer, without special tokens; null if nothing was generated.';
COMMENT ON COLUMN improved.improved_finish  IS 'As finish; also no_response: there was no whole response to rewrite; no_reference: refine had no reference to show.';
COMMENT ON COLUMN improved.improver         IS 'Identity of the model that wrote the improved answer.';
COMMENT ON COLUMN improved."role"           IS 'refine: the improver saw the reference; improve: it did not.';
COMMENT ON COLUMN improved.improver_prompt  IS 'The rendered improve prompt, which never shows the reference: what an improver is scored and trained on, in both roles.';
COMMENT ON COLUMN improved.improve_template IS 'SHA-256 of the improve template.';
COMMENT ON COLUMN improved.refine_template  IS 'SHA-256 of the refine template; null in the role improve.';
