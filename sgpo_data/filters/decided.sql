-- Fences go into the scan as a constant, because a join would lose the order of the rows. A group of too few rows has none.
SET VARIABLE fences = (
    SELECT map(list("group" ORDER BY "group"), list({low: low, high: high} ORDER BY "group"))
    FROM fences
    WHERE rows >= getvariable('ppl.min_rows')
);

-- One row per row of `measured`: what becomes of it.
CREATE OR REPLACE TEMP VIEW decided AS
SELECT *, failed_rules[1] AS dropped_by
FROM (
    SELECT * REPLACE (
        CASE
            WHEN measure NOT BETWEEN fence.low AND fence.high THEN list_append(failed_rules, 'ppl')
            ELSE failed_rules
        END AS failed_rules
    )
    FROM (SELECT *, getvariable('fences')["group"] AS fence FROM measured)
);
