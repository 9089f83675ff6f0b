-- No row is dropped by its perplexity.

-- One row per row of `standing`.
CREATE OR REPLACE TEMP MACRO none_measured(standing) AS TABLE
SELECT *, NULL::DOUBLE AS measure, "group" AS fence
FROM query_table(standing);

-- No row.
CREATE OR REPLACE TEMP MACRO none_fences(measured) AS TABLE
SELECT fence, 0 AS rows, false AS few, measure AS low, measure AS high
FROM query_table(measured)
WHERE false;
