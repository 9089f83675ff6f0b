-- version 1
CREATE TABLE evaluations (
    prompt_id         VARCHAR,
    sample            INTEGER,
    judge             VARCHAR NOT NULL,
    judgement         VARCHAR,
    judgement_finish  VARCHAR NOT NULL,
    first_probability DOUBLE,
    label_probability DOUBLE,
    verdict           VARCHAR,
    first_score       DOUBLE,
    PRIMARY KEY (prompt_id, sample, judge),
    FOREIGN KEY (prompt_id, sample) REFERENCES comparisons (prompt_id, sample),
    CHECK (judgement_finish IN ('stop', 'length', 'empty', 'too_long', 'refused', 'timeout')),
    CHECK ((judgement IS NULL) = (judgement_finish IN ('too_long', 'refused', 'timeout'))),
    CHECK (first_probability BETWEEN 0 AND 1),
    CHECK (label_probability BETWEEN 0 AND 1 + 1e-3),
    CHECK (verdict IN ('first_much', 'first', 'tie', 'second', 'second_much')),
    CHECK (first_score BETWEEN 0 AND 1),
    CHECK ((verdict IS NULL) = (first_score IS NULL)),
    CHECK (verdict IS NULL OR judgement_finish NOT IN ('too_long', 'refused', 'timeout')),
    CHECK (first_probability IS NULL OR first_probability = first_score)
);

COMMENT ON TABLE  evaluations                   IS 'One row per verdict: a comparison in one of its two orders, and what a judge or a person says of it.';
COMMENT ON COLUMN evaluations.sample            IS 'Twice the number of the comparison among those of the same prompt, and one more for the order that is turned round.';
COMMENT ON COLUMN evaluations.judge             IS 'Identity of the model that judged, or person:<name>.';
COMMENT ON COLUMN evaluations.judgement         IS 'What the judge wrote, whole; null if it wrote nothing.';
COMMENT ON COLUMN evaluations.judgement_finish  IS 'As finish of responses; also timeout: no answer in time.';
COMMENT ON COLUMN evaluations.first_probability IS 'Probability of the label of the first answer, of both labels; null if the verdict was read from text, or there is none.';
COMMENT ON COLUMN evaluations.label_probability IS 'Probability that the judgement begins with one of the two labels; null if the engine does not tell.';
COMMENT ON COLUMN evaluations.verdict           IS 'Which answer is better, first_much and second_much: much better; null if the judge gave no verdict that can be read.';
COMMENT ON COLUMN evaluations.first_score       IS 'What the first answer gets: first_probability, or 1, 0.5 (tie) or 0 of a verdict read from text; null without a verdict.';
