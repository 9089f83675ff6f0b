-- No row is dropped by its perplexity.

-- One row per row of `judged`.
CREATE OR REPLACE TEMP VIEW measured AS
SELECT *, NULL::DOUBLE AS measure
FROM judged;

CREATE OR REPLACE TEMP TABLE fences (
    "group" VARCHAR,
    rows    BIGINT,
    low     DOUBLE,
    high    DOUBLE
);
