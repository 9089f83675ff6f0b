"""N-grams of the terms of texts, as 64-bit hashes."""

from typing import TYPE_CHECKING

from sgpo_data.rows import Message
from sgpo_data.text.words import TERM

if TYPE_CHECKING:
    import polars as pl

ODD = 0x9E3779B97F4A7C15
"""Fractional part of the golden ratio, as 64 bits: its powers tell the places of an n-gram apart."""


def spoken(messages: list[Message]) -> str:
    """All turns but the system's, as one text: a system turn is shared by prompts that have nothing else in common."""
    return "\n".join(message["content"] for message in messages if message["role"] != "system")


def ngrams(texts: "pl.Series", size: int) -> "pl.Series":
    """The n-grams of the terms of each text as a list, in their order, repeated ones too.

    A term is a word without what does not tell texts apart: case, punctuation, compatibility forms (NFKC). A text of fewer terms is one n-gram, which no
    longer text has; one without terms is one term.
    """
    import polars as pl

    terms = pl.col("text").str.normalize("NFKC").str.to_lowercase().str.extract_all(TERM)
    filled = pl.when(pl.col("terms").list.len() > 0).then("terms").otherwise(pl.concat_list(pl.col("text").str.strip_chars()))
    padded = pl.concat_list("terms", pl.lit([""] * size)).list.head(pl.max_horizontal(pl.col("terms").list.len(), size))
    found = pl.DataFrame({"text": texts}).with_row_index("row").with_columns(terms=terms).with_columns(terms=filled)
    each = found.select("row", term=padded).explode("term").with_columns(pl.col("term").hash())
    gram = combined([pl.col("term").shift(-place) for place in range(size)])
    whole = pl.col("row").shift(-(size - 1)) == pl.col("row")
    return each.select("row", whole=whole, gram=gram).filter("whole").group_by("row", maintain_order=True).agg("gram")["gram"]


def combined(places: "list[pl.Expr]") -> "pl.Expr":
    """One hash of several in their order; sums and products wrap around."""
    import polars as pl

    return pl.sum_horizontal(place.cast(pl.UInt64) * pl.lit(pow(ODD, at + 1, 2**64), pl.UInt64) for at, place in enumerate(places))
