"""Scored rows by the million: a seeded dataset of the table `scored`, about 1 KB of text a row, with a manifest as a stage writes it.

python benchmarks/rows.py FOLDER --rows 1000000
"""

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sgpo_data.schema import schema
from sgpo_data.store.at_once import write_all
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.manifest import Identity, ModelRecord
from sgpo_data.store.resume import make
from sgpo_data.store.unfinished import StageSummary, Unfinished

PART_ROWS = 131072
Column: TypeAlias = "pa.Array[Any]"

SAMPLES = 2
"""Answers of each prompt; the second of one in REPEATING prompts is the first again."""
REPEATING = 50

_WORDS = 4096
_SENTENCES = 1 << 14
_SENTENCE_WORDS = 16


def scored_rows(folder: Path, rows: int, *, seed: int = 0) -> Dataset:
    """The dataset of so many rows in this folder, made now unless it is there; the same seed gives the same bytes.

    Lengths, edit distances and likelihoods are drawn so that each rule of filter drops some rows and most are kept.
    """
    model = ModelRecord(identity="folder:0", location="benchmarks/rows.py")
    identity = Identity(stage="benchmark-scored", revision=1, schema_version=2, fields={"rows": rows, "seed": seed}, inputs=(), models={"scorer": model})

    def work(into: Unfinished) -> StageSummary:
        write_all(into, pa.RecordBatchReader.from_batches(schema("scored").arrow, _batches(rows, seed)))
        return StageSummary(rows_in=rows, outcome="improved_finish", origin=model)

    return make(folder, identity, table="scored", part_rows=PART_ROWS, work=work)


def _batches(rows: int, seed: int) -> Iterator[pa.RecordBatch]:
    sentences = _sentences(np.random.default_rng(seed))
    for start in range(0, rows, PART_ROWS):
        count = min(PART_ROWS, rows - start)
        yield _batch(np.random.default_rng([seed, start]), sentences, start, count)


def _sentences(draw: np.random.Generator) -> Column:
    """Made-up words whose frequencies fall as those of a language do, about 100 characters a sentence."""
    letters = np.frombuffer(b"etaoinshrdlucmfwypvbgkjqxz", dtype="S1")
    words = np.array([b"".join(draw.choice(letters, size)).decode() for size in draw.integers(2, 10, _WORDS)])
    ranks = np.minimum(draw.zipf(1.3, (_SENTENCES, _SENTENCE_WORDS)) - 1, _WORDS - 1)
    return pa.array([" ".join(row) for row in words[ranks]])


def _batch(draw: np.random.Generator, sentences: Column, start: int, count: int) -> pa.RecordBatch:
    numbers = np.arange(start, start + count)
    prompts = numbers // SAMPLES
    sample = (numbers % SAMPLES).astype(np.int32)

    def text(kind: str, names: np.ndarray, sentences_each: int) -> Column:
        # No text stands twice: each begins with its own number.
        own = pc.binary_join_element_wise(kind, pc.cast(pa.array(names), pa.string()), " ")
        return pc.binary_join_element_wise(own, *(sentences.take(pa.array(draw.integers(0, _SENTENCES, count))) for _ in range(sentences_each)), " ")  # type: ignore[arg-type, call-overload, no-any-return]

    repeated = (sample > 0) & (prompts % REPEATING == 0)
    question, reference = text("question", prompts, 1), text("reference", prompts, 2)
    response, improved = text("response", numbers, 3), text("improved", numbers, 3)
    # Of the two samples of a repeating prompt, both get the first one's text.
    improved = improved.take(pa.array(np.arange(count) - (repeated & (np.arange(count) > 0))))
    columns = {
        "prompt_id": pa.array([hashlib.md5(b"%d" % prompt).hexdigest() for prompt in prompts]),
        "messages": _messages(question),
        "reference": reference,
        "rejected": pa.nulls(count, pa.string()),
        "source": _constant("benchmark", count),
        "count": pa.array(np.ones(count, dtype=np.int64)),
        "sample": pa.array(sample),
        "response": response,
        "improved": improved,
        "improver_prompt": _messages(pc.binary_join_element_wise(question, response, "\n\n### Draft\n")),  # type: ignore[call-overload]
        **{name: _constant(value, count) for name, value in _SAME.items()},
        "refine_template": pa.nulls(count, pa.string()),
        **_finishes(draw, count),
        **_likelihoods(draw, count),
        **_words(draw, count),
    }
    arrow = schema("scored").arrow
    nothing = {name: pa.nulls(count, arrow.field(name).type) for name in arrow.names if name not in columns}
    return pa.RecordBatch.from_arrays([{**columns, **nothing}[name].cast(arrow.field(name).type) for name in arrow.names], schema=arrow)


_SAME = {"policy": "folder:0", "improver": "folder:0", "role": "improve", "improve_template": "0" * 64, "scorer": "folder:0"}


def _finishes(draw: np.random.Generator, count: int) -> dict[str, Column]:
    chances = draw.random((2, count))
    return {
        "finish": pa.array(np.where(chances[0] < 0.01, "length", "stop")),
        "improved_finish": pa.array(np.where(chances[1] < 0.02, "length", "stop")),
        "residue": pc.if_else(pa.array(draw.random(count) < 0.003), "</s>", pa.scalar(None, pa.string())),
    }


def _likelihoods(draw: np.random.Generator, count: int) -> dict[str, Column]:
    tokens = {name: draw.integers(4 if name == "improved" else 16, 200, count).astype(np.int32) for name in ("response", "improved", "reference")}
    means = {name: draw.lognormal(-0.2, 0.4, count) for name in tokens}
    # One rewrite in 500 did not fit the scorer's context.
    absent = pa.array(draw.random(count) < 0.002)
    nll = {f"{name}_nll": pa.array(means[name] * tokens[name]) for name in tokens}
    nll["improved_nll"] = pc.if_else(absent, pa.scalar(None, pa.float64()), nll["improved_nll"])
    nll["improved_nll_given_draft"] = pa.array(means["improved"] * tokens["improved"] * draw.uniform(0.3, 1.0, count))
    sampled = {"sampled_nll": nll["response_nll"], "sampled_tokens": pa.array(tokens["response"])}
    return {**nll, **sampled, **{f"{name}_tokens": pa.array(values) for name, values in tokens.items()}}


def _words(draw: np.random.Generator, count: int) -> dict[str, Column]:
    response = draw.integers(20, 120, count)
    improved = np.maximum((response * draw.lognormal(0, 0.3, count)).astype(np.int64), 1)
    reference = draw.integers(20, 120, count)
    longer = np.maximum(response, improved)
    numbers = {
        "response_words": response,
        "improved_words": improved,
        "reference_words": reference,
        "edited_words": np.minimum((longer * draw.beta(2, 2.5, count)).astype(np.int64), longer),
        "reference_edited_words": np.maximum(reference, improved) // 2,
        "response_repeats": (response * draw.beta(1, 20, count)).astype(np.int64),
        "improved_repeats": (improved * draw.beta(1, 8, count)).astype(np.int64),
    }
    return {name: pa.array(values.astype(np.int32)) for name, values in numbers.items()}


def _messages(texts: Column) -> Column:
    """One user turn of each text."""
    turns = pa.StructArray.from_arrays([_constant("user", len(texts)), texts], names=["role", "content"])
    return pa.ListArray.from_arrays(pa.array(np.arange(len(texts) + 1, dtype=np.int32)), turns)  # type: ignore[call-overload, no-any-return]


def _constant(value: str, count: int) -> Column:
    return pa.array(np.full(count, value))  # type: ignore[no-any-return]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(scored_rows(asked.folder, asked.rows, seed=asked.seed).folder)
