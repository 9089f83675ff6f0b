"""Sample rows of a run: some of every outcome of every round, texts cut, with what was measured of them."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from sgpo_data.connection import quoted
from sgpo_data.loop.rounds import Round
from sgpo_data.report.drops import KEPT
from sgpo_data.report.text import line
from sgpo_data.sealed import visible
from sgpo_data.stages.order import MAKERS
from sgpo_data.store.dataset import Dataset
from sgpo_data.text.word_diff import Piece, sides, word_diff

ROWS = 240
"""In all, as far as every outcome has FEWEST."""
FEWEST, MOST = 2, 20
"""Of each outcome of each round."""
MOST_OUTCOMES = 12
CHARACTERS = 4000
"""Shown of an answer."""
PROMPT_CHARACTERS = 1500
"""Shown of each turn of a prompt."""
TURNS = 6
"""Shown of a prompt, the last ones."""

Key = tuple[str, int]
"""prompt_id and sample."""
Value = Mapping[str, object]


@dataclass(frozen=True)
class Text:
    """A text of a row, or as much of it as is shown."""

    label: str
    pieces: tuple[Piece, ...]
    characters: int
    """Of the whole text."""
    shown: int


@dataclass(frozen=True)
class SampleRow:
    """A row as it is shown."""

    place: str
    outcome: str
    failed: tuple[str, ...]
    """The rules it fails."""
    title: str
    """The beginning of what was asked."""
    prompt: tuple[Text, ...]
    earlier: int
    """Turns that are not shown."""
    answers: tuple[Text, ...]
    """Response and rewrite, or what stands for them."""
    reference: Text | None
    measures: tuple[tuple[str, str], ...]
    key: str


def samples(con: duckdb.DuckDBPyConnection, rounds: Sequence[Round]) -> Iterator[SampleRow]:
    """Sample rows of each round, of every outcome as many: those first by their prompt's id, which is a digest.

    The newest round comes first, rounds without answers last.
    """
    answering, others = [made for made in rounds if made.answers], [made for made in rounds if not made.answers]
    tables = [(made.place, dataset) for made in (*answering[::-1], *others[::-1]) if (dataset := _table(made)) is not None]
    strata = sum(min(len(dataset.manifest.outcomes), MOST_OUTCOMES) for _, dataset in tables)
    wanted = max(FEWEST, min(MOST, ROWS // max(strata, 1)))
    for place, dataset in tables:
        dataset.relation(con).create_view("sampled_rows", replace=True)
        drawn = _drawn(con, dataset, wanted)
        rows = _rows(con, dataset, [key for _, keys in drawn for key in keys])
        for outcome, keys in drawn:
            for key in sorted(keys):
                yield _sample(place, visible(outcome), rows[outcome, key])


def _table(made: Round) -> Dataset | None:
    return made.answers or next((made.datasets[table] for table in ("pairs", "examples") if table in made.datasets), None)


def _drawn(con: duckdb.DuckDBPyConnection, dataset: Dataset, wanted: int) -> list[tuple[str, list[Key]]]:
    """Keys by outcome, kept rows first, then the most frequent outcomes; nothing but keys is held."""
    key = "{prompt_id: prompt_id, sample: sample}"
    ordered = f"min_by({key}, prompt_id || '/' || sample, {wanted})"
    counted = f"SELECT {MAKERS[dataset.table].outcome} AS outcome, {ordered} AS keys FROM sampled_rows GROUP BY outcome"
    query = f"{counted} ORDER BY outcome != '{KEPT}', count(*) DESC, outcome LIMIT {MOST_OUTCOMES}"
    return [(str(outcome), [(key["prompt_id"], key["sample"]) for key in keys]) for outcome, keys in con.execute(query).fetchall()]


def _rows(con: duckdb.DuckDBPyConnection, dataset: Dataset, keys: Sequence[Key]) -> dict[tuple[str, Key], Value]:
    """The rows of these keys by outcome and key, in one pass over the texts."""
    marks = ", ".join("(?, ?)" for _ in keys)
    selected = ", ".join(_cut(name, sql_type) for name, sql_type in _types(con))
    query = f"SELECT {MAKERS[dataset.table].outcome} AS outcome, {selected} FROM sampled_rows WHERE (prompt_id, sample) IN ({marks})"
    found: list[Value] = con.sql(query, params=[value for key in keys for value in key]).to_arrow_table().to_pylist()
    return {(str(row["outcome"]), (str(row["prompt_id"]), int(str(row["sample"])))): row for row in found}


def _types(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    return [(str(name), str(sql_type)) for name, sql_type, *_ in con.execute("DESCRIBE sampled_rows").fetchall()]


def _cut(name: str, sql_type: str) -> str:
    """The column with its texts cut and their lengths beside them, so that no long text is ever held."""
    column = quoted(name)
    if sql_type == "VARCHAR":
        return f"left({column}, {CHARACTERS}) AS {column}, length({column}) AS {quoted(f'{name}_characters')}"
    if sql_type.startswith("STRUCT") and sql_type.endswith("[]"):
        turn = f'{{"role": turn."role", "content": left(turn.content, {CHARACTERS}), "characters": length(turn.content)}}'
        return f"list_transform({column}[-{TURNS}:], lambda turn: {turn}) AS {column}, len({column}) AS {quoted(f'{name}_turns')}"
    return column


def _sample(place: str, outcome: str, row: Value) -> SampleRow:
    asked = "messages" if "messages" in row else "prompt"
    turns = row[asked]
    assert isinstance(turns, list)
    return SampleRow(
        place=place,
        outcome=outcome,
        failed=tuple(row["failed_rules"]) if isinstance(row.get("failed_rules"), list) else (),  # type: ignore[arg-type]
        title=line(turns[-1]["content"], 120) if turns else "",
        prompt=tuple(_whole(line(turn["role"], 40), turn["content"], turn["characters"], PROMPT_CHARACTERS) for turn in turns),
        earlier=int(str(row[f"{asked}_turns"])) - len(turns),
        answers=_answers(row),
        reference=_reference(row),
        measures=tuple(_measures(row)),
        key=f"{row['prompt_id']}/{row['sample']}",
    )


def _answers(row: Value) -> tuple[Text, ...]:
    """Before and after, word by word, if there are two."""
    found = [(label, *_content(row, label)) for label in ("response", "improved", "rejected", "chosen", "completion") if _content(row, label)[0] is not None]
    if "response" in row:
        found = [each for each in found if each[0] in ("response", "improved")]
    texts = [(label, visible(str(text)), int(characters)) for label, text, characters in found]
    if len(texts) != 2:
        return tuple(_whole(label, text, characters, CHARACTERS) for label, text, characters in texts)
    pieces = sides(word_diff(texts[0][1], texts[1][1]))
    return tuple(Text(label, of, characters, min(characters, CHARACTERS)) for (label, _, characters), of in zip(texts, pieces, strict=True))


def _content(row: Value, label: str) -> tuple[str | None, int]:
    """A text, or that of the only turn of a conversation, with its characters."""
    value = row.get(label)
    if isinstance(value, list):
        return (value[-1]["content"], value[-1]["characters"]) if value else (None, 0)
    return (value, int(str(row[f"{label}_characters"]))) if isinstance(value, str) else (None, 0)


def _reference(row: Value) -> Text | None:
    text, characters = _content(row, "reference")
    return None if text is None else _whole("reference", text, characters, CHARACTERS)


def _whole(label: str, text: str, characters: int, most: int) -> Text:
    shown = text[:most]
    return Text(label, (Piece("same", visible(shown)),), characters, len(shown))


def _measures(row: Value) -> Iterator[tuple[str, str]]:
    for of in ("response", "improved", "reference", "chosen", "rejected"):
        nll, tokens = row.get(f"{of}_nll"), row.get(f"{of}_tokens")
        if isinstance(nll, float) and isinstance(tokens, int) and tokens > 0:
            yield f"{of} perplexity", f"{math.exp(min(nll / tokens, 700)):.4g}"
            yield f"{of} tokens", f"{tokens:,}"
        reward = row.get(f"{of}_reward")
        if isinstance(reward, float):
            yield f"{of} reward", f"{reward:.4g}"
    edited, words = row.get("edited_words"), [row.get(f"{of}_words") for of in ("response", "improved")]
    if isinstance(edited, int):
        longer = max((each for each in words if isinstance(each, int)), default=0)
        yield "words edited", f"{edited:,} of {longer:,}" if longer else f"{edited:,}"
    for name in ("finish", "improved_finish", "residue", "kind"):
        if isinstance(row.get(name), str):
            yield name.replace("_", " "), line(json.dumps(row[name], ensure_ascii=False) if name == "residue" else str(row[name]), 60)
