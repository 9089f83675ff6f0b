-- Share of the rows kept, by the source of the prompt.
SELECT
    source,
    count(*)                              AS rows,
    count_if(dropped_by IS NULL)          AS kept,
    round(share(dropped_by IS NULL), 3)   AS share,
    mode(dropped_by)                      AS mostly_dropped_by
FROM filtered
GROUP BY source
ORDER BY rows DESC, source;
