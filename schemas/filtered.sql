-- version 2
CREATE TABLE filtered (
    prompt_id    VARCHAR,
    sample       INTEGER,
    dropped_by   VARCHAR,
    failed_rules VARCHAR[] NOT NULL,
    PRIMARY KEY (prompt_id, sample),
    FOREIGN KEY (prompt_id, sample) REFERENCES scored (prompt_id, sample),
    CHECK (dropped_by IS NOT DISTINCT FROM failed_rules[1])
);

COMMENT ON TABLE  filtered              IS 'One row per prompt and sample: every row of scored, and whether it is kept.';
COMMENT ON COLUMN filtered.dropped_by   IS 'The first rule the row fails, in the order of the rules; null if the row is kept.';
COMMENT ON COLUMN filtered.failed_rules IS 'All rules the row fails, in the order of the rules; empty if the row is kept.';
