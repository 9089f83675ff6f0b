-- What each rule drops, how many rows fail it at all, and how many are left.
WITH dropped AS (
    SELECT dropped_by AS rule, count(*) AS rows
    FROM filtered
    WHERE dropped_by IS NOT NULL
    GROUP BY rule
),
failed AS (
    SELECT rule, count(*) AS rows
    FROM (SELECT unnest(failed_rules) AS rule FROM filtered)
    GROUP BY rule
),
total AS (
    SELECT count(*) AS rows FROM filtered
)
SELECT
    failed.rule,
    coalesce(dropped.rows, 0)                                                                        AS dropped,
    failed.rows                                                                                      AS failed,
    total.rows - sum(coalesce(dropped.rows, 0)) OVER (ORDER BY dropped.rows DESC NULLS LAST, failed.rule) AS "left",
    bar(coalesce(dropped.rows, 0), 0, total.rows, 30)                                                AS share
FROM failed LEFT JOIN dropped USING (rule), total
ORDER BY dropped.rows DESC NULLS LAST, failed.rule;
