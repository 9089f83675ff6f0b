-- version 1
CREATE TABLE grades (
    task      VARCHAR NOT NULL,
    item      VARCHAR NOT NULL,
    sample    INTEGER NOT NULL,
    part      INTEGER NOT NULL,
    kind      VARCHAR,
    metric    VARCHAR NOT NULL,
    value     DOUBLE,
    question  VARCHAR NOT NULL,
    answer    VARCHAR,
    prompt_id VARCHAR,
    model     VARCHAR NOT NULL,
    PRIMARY KEY (task, item, sample, part, metric),
    CHECK (sample >= 0),
    CHECK (part >= 0)
);

COMMENT ON TABLE  grades           IS 'One row per graded part of an answer and metric: what a program says of it.';
COMMENT ON COLUMN grades.task      IS 'ifeval, or the name of a task of lm-eval.';
COMMENT ON COLUMN grades.item      IS 'What the task calls the question.';
COMMENT ON COLUMN grades.sample    IS 'Number of the answer among those to the question, from 0.';
COMMENT ON COLUMN grades.part      IS 'Number of the instruction in the question, from 0; 0 where a question is one.';
COMMENT ON COLUMN grades.kind      IS 'Which instruction it is; null where a question is one.';
COMMENT ON COLUMN grades.metric    IS 'strict or loose of ifeval; of lm-eval the metric and the filter it is taken behind, as acc,none.';
COMMENT ON COLUMN grades.value     IS '1 if the instruction is followed, else 0; of lm-eval, the value of the metric; null where it has none for one answer.';
COMMENT ON COLUMN grades.question  IS 'The prompt, as text; of a conversation, its last turn.';
COMMENT ON COLUMN grades.answer    IS 'What was graded; null if there is no answer.';
COMMENT ON COLUMN grades.prompt_id IS 'Joins with prompts and responses; null of lm-eval, whose prompts are no conversations.';
COMMENT ON COLUMN grades.model     IS 'Identity of the model that answered, or its name in the answer file.';
