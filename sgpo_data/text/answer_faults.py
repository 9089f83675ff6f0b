"""What is wrong with answers as text: one row of flags per row of pairs or examples."""

from collections.abc import Callable

import polars as pl

from sgpo_data.text.measures import edit_distance
from sgpo_data.text.residue import residue
from sgpo_data.text.wording import TemplateWording
from sgpo_data.text.words import count_words, words

SHORTEST_LEAK = 40
"""Characters below which a reference can stand in an answer by chance."""
SHORTEST_ECHO = 20
"""Characters below which the turn to be answered can: it asks, and answers do not."""

REFUSALS = (
    r"i(?:['’]m| am) (?:very |so |really )?(?:sorry|afraid|unable|not able)\b",
    r"(?:i )?(?:apologi[sz]e|sorry)\b[^.\n]{0,40}\b(?:can(?:['’]t|not| not)|unable|not able|won['’]t)\b",
    r"i (?:can(?:['’]t|not| not)|could ?n['’]t|won['’]t|will not|must decline|have to decline)\b",
    r"unfortunately,? (?:i|as an ai)\b[^.\n]{0,20}\b(?:can(?:['’]t|not| not)|am unable|am not able|do(?:n['’]t| not) have)\b",
    r"as an? (?:ai\b|artificial intelligence|(?:large )?language model)",
    r"i(?:['’]m| am) (?:just |only )?an? (?:ai\b|artificial intelligence|(?:large )?language model)",
)
"""How an answer opens that declines; capitals and marks before it do not count."""

_REFUSAL = rf"(?i)^\W{{0,8}}(?:{'|'.join(REFUSALS)})"
_DAMAGE = (
    r"\x{FFFD}|[\x00-\x08\x0B\x0C\x0E-\x1F\x7F]"
    r"|\x{00E2}\x{20AC}[\x{2122}\x{0153}\x{009D}\x{02DC}\x{201C}\x{201D}\x{00A6}]|\x{00C3}[\x{00A9}\x{00A8}\x{00A4}\x{00B6}\x{00BC}\x{00A1}\x{00B1}]"
    r"|[ \t\x{00A0}]{60}|\n{8}"
)
_LIST_LINE = r"(?:^|\n)[ \t]*(?:[-*•#|>+]|\d+[.)]|[A-Za-z][.)])[^\n]*$"
_OPEN_END = r"(?:[\p{L}\p{M}--[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]]|[,(\[{–—&-])$"
"""A sentence goes on after these; some scripts end theirs without a mark."""
_LAST_LINE = 40
"""Characters below which a last line is that of a poem, a list or a signature."""
_TOKEN_NEAR = r"<[|｜/<A-Za-z]|\[/?INST\]|### "
_TALK_NEAR = (
    r"(?i)improve|rewr[io]t|revis|refine|better|updated|correct|\bedit|polished|enhanced|\bnew\b|draft|reference|change|adjustment|original|version"
    r"|verbessert|überarbeitet|korrigiert|amélior|révis|corrig|réécrit|mejorad|改|优化|润色"
)
"""What any residue has in it, talk of it at either end; other texts are spared the slower patterns."""
_ENDS = 420
_CHINESE_JAPANESE = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}]"
_SCRIPTS = (
    *(rf"\p{{{name}}}" for name in ("Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "Bengali", "Tamil", "Telugu")),
    *(rf"\p{{{name}}}" for name in ("Thai", "Georgian", "Armenian", "Hangul")),
    _CHINESE_JAPANESE,
)
_FEWEST_LETTERS = 10


def flagged(rows: pl.DataFrame, *, min_edit: float, wording: TemplateWording) -> pl.DataFrame:
    """The columns of table `measured` for these rows: `asked` (the turn to be answered), `turns` (all of the prompt), `chosen`, `rejected`, `edited_words`.

    `wording` is that of the templates of the rewrites; a prompt that is one of them filled in is taken without it.
    A flag is null where it cannot be told; of a row without `rejected`, flags are those of `chosen`.
    """
    found = rows.with_columns(
        words=count_words(pl.col("chosen")),
        rejected_words=count_words(pl.col("rejected")),
        answer=pl.col("chosen").hash(),
        empty=_either(_blank),
        refusal=_refusal("chosen"),
        rejected_refusal=_refusal("rejected"),
        prompt_leak=_prompt_leak(),
        damaged=_either(lambda name: pl.col(name).str.contains(_DAMAGE)),
        other_script=_other_script(rows),
        residue=_residue(rows, wording),
    )
    found = found.with_columns(
        truncated=_truncated("chosen", "words"), rejected_truncated=_truncated("rejected", "rejected_words"), near_identical=_near_identical(found, min_edit)
    )
    return found.drop("asked", "turns", "chosen", "rejected", "edited_words")


def _blank(name: str) -> pl.Expr:
    return pl.col(name).str.strip_chars().str.len_bytes() == 0


def _refusal(name: str) -> pl.Expr:
    return pl.col(name).str.head(200).str.contains(_REFUSAL)


def _prompt_leak() -> pl.Expr:
    asked, chosen = _quoted(pl.col("asked").str.strip_chars()), _quoted(pl.col("chosen"))
    return pl.when(asked.is_not_null()).then((asked.str.len_chars() >= SHORTEST_ECHO) & chosen.str.contains(asked, literal=True))


def _quoted(text: pl.Expr) -> pl.Expr:
    """With one kind of quotation marks."""
    return text.str.replace_all('["“”‘’]', "'")


def _either(flag: Callable[[str], pl.Expr]) -> pl.Expr:
    return flag("chosen") | flag("rejected").fill_null(value=False)


def _truncated(name: str, count: str) -> pl.Expr:
    text = pl.col(name).str.strip_chars_end()
    end = text.str.tail(_LAST_LINE)
    long_line = (end.str.len_chars() == _LAST_LINE) & ~end.str.contains("\n", literal=True) & ~text.str.tail(400).str.contains(_LIST_LINE)
    return (pl.col(count) >= 20) & ((long_line & end.str.contains(_OPEN_END)) | (text.str.count_matches("```", literal=True) % 2 == 1))


def _near_identical(rows: pl.DataFrame, min_edit: float) -> pl.Series:
    """Answers of much unlike length differ in more than `min_edit`; the others are measured in words, as `edited_words` is."""
    longest = pl.max_horizontal(pl.col("chosen").str.len_chars(), pl.col("rejected").str.len_chars())
    lengths = (pl.col("chosen").str.len_chars().cast(pl.Int64) - pl.col("rejected").str.len_chars().cast(pl.Int64)).abs()
    near = rows.select(near=pl.col("rejected").is_not_null() & (lengths <= 2 * min_edit * longest))["near"]
    told = [False if there else None for there in rows["rejected"].is_not_null()]
    for at, edited in zip(near.arg_true().to_list(), rows.filter(near)["edited_words"].to_list(), strict=True):
        chosen, rejected = words(rows["chosen"][at]), words(rows["rejected"][at])
        distance = edit_distance(rejected, chosen) if edited is None else edited
        told[at] = distance < min_edit * max(len(chosen), len(rejected)) or chosen == rejected
    return pl.Series(told, dtype=pl.Boolean)


def _residue(rows: pl.DataFrame, wording: TemplateWording) -> pl.Series:
    found = [False] * rows.height
    marks = pl.select(_squeezed(pl.lit(pl.Series("mark", wording.marks, dtype=pl.String))))["mark"].unique().to_list()
    for name in ("chosen", "rejected"):
        text = pl.col(name)
        talk = text.str.head(_ENDS).str.contains(_TALK_NEAR) | text.str.tail(_ENDS).str.contains(_TALK_NEAR)
        near = rows.select((text.str.contains(_TOKEN_NEAR) | talk | _squeezed(text).str.contains_any(marks)).fill_null(value=False))[name]
        for at in near.arg_true().to_list():
            found[at] = found[at] or residue(rows[name][at], wording, [wording.without(turn) for turn in rows["turns"][at]]) is not None
    return pl.Series(found, dtype=pl.Boolean)


def _squeezed(text: pl.Expr) -> pl.Expr:
    """Letters and digits alone: what of a template is in a text is in it so too, however it is set."""
    return text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{M}\p{N}]+", "")


def _other_script(rows: pl.DataFrame) -> pl.Series:
    """Whether most letters of `chosen` are of a script that `asked` has none of; ASCII texts are of one script."""
    plain = pl.all_horizontal(pl.col(name).str.len_bytes() == pl.col(name).str.len_chars() for name in ("asked", "chosen"))
    told = [False if there else None for there in rows["asked"].is_not_null()]
    near = rows.select(near=(~plain).fill_null(value=False))["near"].arg_true()
    counts = rows[near].select(
        *(pl.col(name).str.count_matches(script).alias(f"{name} {script}") for name in ("asked", "chosen") for script in _SCRIPTS),
    )
    most = pl.max_horizontal(f"chosen {script}" for script in _SCRIPTS)
    lettered = pl.sum_horizontal(f"asked {script}" for script in _SCRIPTS) > 0
    alone = pl.any_horizontal((pl.col(f"chosen {script}") == most) & (pl.col(f"asked {script}") == 0) for script in _SCRIPTS)
    for at, other in zip(near.to_list(), counts.select(other=lettered & (most >= _FEWEST_LETTERS) & alone)["other"].to_list(), strict=True):
        told[at] = other
    return pl.Series(told, dtype=pl.Boolean)
