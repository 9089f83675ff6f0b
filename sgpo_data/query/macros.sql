-- Macros that every query of sgpo sql can use.
CREATE MACRO perplexity(nll, tokens) AS exp(nll / nullif(tokens, 0));

CREATE MACRO last_turn(messages) AS messages[-1].content;

CREATE MACRO share(condition) AS count_if(condition) / nullif(count(*), 0);

CREATE MACRO edit_share(edited_words, words, other_words) AS edited_words / nullif(greatest(words, other_words), 0);

-- Line by line, so that paragraphs stay; a word that is longer than a line is cut.
CREATE MACRO wrap(text, width) AS array_to_string(
    list_transform(
        string_split(text, chr(10)),
        lambda line: rtrim(regexp_replace(line, '(.{1,' || width || '})(?:[ \t]+|$)|(.{' || width || '})', '\1\2' || chr(10), 'g'), chr(10))
    ),
    chr(10)
);

COMMENT ON MACRO perplexity IS 'exp(nll / tokens): the perplexity of nats summed over tokens; null without tokens.';
COMMENT ON MACRO last_turn  IS 'Content of the last turn of a conversation.';
COMMENT ON MACRO share      IS 'Share of the rows for which the condition is true, from 0 to 1.';
COMMENT ON MACRO edit_share IS 'Words edited as a share of the longer text: what the rules changed and incremental look at.';
COMMENT ON MACRO wrap       IS 'The text in lines of at most that many characters, for two texts side by side.';
