-- The gates: incremental, yet discernible, as text. A comparison with NULL is NULL, so a rule whose measure is absent is not failed.
-- Words, not texts, are read: only `unique` looks at the answers.

-- One row per row of `ruled`: the rules it fails among those that it alone decides, the gates and then the recipe's own, in their order.
CREATE OR REPLACE TEMP VIEW gated AS
SELECT
    *,
    list_filter(list_concat([
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
    ], own_rules), lambda rule: rule IS NOT NULL) AS failed_gates
FROM (
    SELECT
        *,
        nullif(greatest(response_words, improved_words), 0)  AS longer,
        nullif(greatest(reference_words, improved_words), 0) AS longer_reference
    FROM ruled
);

-- Where each prompt has one sample, no answer can be repeated, and the texts need not be read.
SET VARIABLE several_samples = (SELECT coalesce(max(sample) > min(sample), false) FROM input);

-- One row, with a bit for each position of `input`: 1 for an answer that a lower sample of its prompt gave already, among rows that fail no rule above.
-- Digests stand for the texts, so that no aggregate holds a text; positions stand for the rows, because a join would lose their order.
CREATE OR REPLACE TEMP TABLE repeated AS
WITH passed AS (
    SELECT md5_number(concat(prompt_id, '/', improved)) AS digest, sample, position
    FROM gated
    WHERE getvariable('gates.unique') AND getvariable('several_samples') AND len(failed_gates) = 0
),
first AS (
    SELECT digest, min(sample) AS sample
    FROM passed
    GROUP BY digest
    HAVING count(*) > 1
)
SELECT bitstring_agg(position, 0, getvariable('last_position')) AS bits
FROM passed
JOIN first ON first.digest = passed.digest AND passed.sample > first.sample;

SET VARIABLE repeated = (SELECT bits FROM repeated);
