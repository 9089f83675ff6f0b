"""Word n-grams of texts, as 64-bit hashes."""

from typing import TYPE_CHECKING

from sgpo_data.rows import Message

if TYPE_CHECKING:
    import polars as pl

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
_WORD = rf"[{_UNSPACED}]\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+"
"""A run of letters and digits, or one character of a script that is written without spaces."""
ODD = 0x9E3779B97F4A7C15
"""Fractional part of the golden ratio, as 64 bits: its powers tell the places of an n-gram apart."""


def spoken(messages: list[Message]) -> str:
    """All turns but the system's, as one text: a system turn is shared by prompts that have nothing else in common."""
    return "\n".join(message["content"] for message in messages if message["role"] != "system")


def ngrams(texts: "pl.Series", size: int) -> "pl.Series":
    """The word n-grams of each text as a list, in their order, repeated ones too.

    Case, punctuation, spaces and compatibility forms (NFKC) do not count. A text of fewer words is one n-gram, which no longer text has;
    one without words is one word.
    """
    import polars as pl

    words = pl.col("text").str.normalize("NFKC").str.to_lowercase().str.extract_all(_WORD)
    filled = pl.when(pl.col("words").list.len() > 0).then("words").otherwise(pl.concat_list(pl.col("text").str.strip_chars()))
    padded = pl.concat_list("words", pl.lit([""] * size)).list.head(pl.max_horizontal(pl.col("words").list.len(), size))
    found = pl.DataFrame({"text": texts}).with_row_index("row").with_columns(words=words).with_columns(words=filled)
    each = found.select("row", word=padded).explode("word").with_columns(pl.col("word").hash())
    gram = combined([pl.col("word").shift(-place) for place in range(size)])
    whole = pl.col("row").shift(-(size - 1)) == pl.col("row")
    return each.select("row", whole=whole, gram=gram).filter("whole").group_by("row", maintain_order=True).agg("gram")["gram"]


def combined(places: "list[pl.Expr]") -> "pl.Expr":
    """One hash of several in their order; sums and products wrap around."""
    import polars as pl

    return pl.sum_horizontal(place.cast(pl.UInt64) * pl.lit(pow(ODD, at + 1, 2**64), pl.UInt64) for at, place in enumerate(places))
