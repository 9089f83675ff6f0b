-- The gates: incremental, yet discernible, as text. A comparison with NULL is NULL, so a rule whose measure is absent is not failed.
-- Words, not texts, are read: only `unique` looks at the answers.

-- One row per row of `grouped`: the rules it fails among those that it alone decides, in their order.
CREATE OR REPLACE TEMP VIEW gated AS
SELECT
    *,
    list_filter([
        CASE
            WHEN finish != 'stop' OR improved_finish != 'stop' OR residue IS NOT NULL OR response_words = 0 OR improved_words = 0
            THEN 'finished'
        END,
        CASE
            WHEN edited_words / longer < getvariable('gates.min_edit')
              OR edited_words < least(getvariable('gates.min_edited_words'), ceil(longer / 4))
            THEN 'changed'
        END,
        CASE
            WHEN edited_words / longer > getvariable('gates.max_edit')
            THEN 'incremental'
        END,
        CASE
            WHEN "role" = 'refine' AND reference_edited_words / longer_reference < getvariable('gates.min_reference_edit')
            THEN 'not_reference'
        END,
        CASE
            WHEN improved_words / nullif(response_words, 0)
                NOT BETWEEN getvariable('gates.min_length_ratio') AND getvariable('gates.max_length_ratio')
            THEN 'length'
        END,
        CASE
            WHEN improved_repeats / nullif(greatest(improved_words - 3, 0), 0) > getvariable('gates.max_repetition')
            THEN 'repetition'
        END
    ], lambda rule: rule IS NOT NULL) AS failed_gates
FROM (
    SELECT
        *,
        nullif(greatest(response_words, improved_words), 0)  AS longer,
        nullif(greatest(reference_words, improved_words), 0) AS longer_reference
    FROM grouped
);

-- One row per answer that a lower sample of its prompt gave already, among rows that fail no gate above.
-- Digests stand for the texts, so that no aggregate holds a text.
CREATE OR REPLACE TEMP TABLE repeated AS
WITH first AS (
    SELECT prompt_id, md5_number(improved) AS digest, min(sample) AS sample
    FROM gated
    WHERE getvariable('gates.unique') AND len(failed_gates) = 0
    GROUP BY prompt_id, digest
    HAVING count(*) > 1
)
SELECT gated.prompt_id, gated.sample
FROM gated
JOIN first ON first.prompt_id = gated.prompt_id AND first.digest = md5_number(gated.improved)
WHERE len(gated.failed_gates) = 0 AND gated.sample > first.sample;

CREATE OR REPLACE TEMP MACRO is_repeated(a, b) AS (a, b) IN (SELECT (prompt_id, sample) FROM repeated);
