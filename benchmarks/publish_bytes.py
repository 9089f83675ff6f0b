"""Bytes that go up for the next version of a dataset, by what changed in it: by LFS, which sends whole files, and by xet, which sends new chunks.

    python benchmarks/publish_bytes.py --rows 20000

The chunks are those of hf_xet itself, which writes them to a folder in place of a server (`local://`, its own door for tests). A real Hub may
know a chunk from elsewhere, and so take less.
"""

import argparse
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import hf_xet

from sgpo_data.rows import Row
from sgpo_data.schema import schema
from sgpo_data.store.files import file_digest
from sgpo_data.store.parquet import arrow_table, write_parquet

WORDS = 20_000
ANSWER_WORDS = 150
CHANGED = 100
"""One row in so many is new or another."""


@dataclass(frozen=True)
class Change:
    """What sets the next version apart from the first one."""

    name: str
    rows: Callable[[Sequence[Row]], list[Row]]


def pair(number: int) -> Row:
    """A row of table pairs, of words as frequent as those of a language."""
    dice = random.Random(number)

    def text(words: int) -> str:
        return " ".join(f"{int(WORDS ** dice.random()):x}{'aeiou'[dice.randrange(5)]}" for _ in range(words))

    rejected = text(ANSWER_WORDS).split()
    chosen = [word if dice.random() > 0.2 else text(1) for word in rejected]
    prompt_id = f"{dice.getrandbits(128):032x}"
    turns = {"prompt": [("user", text(30))], "chosen": [("assistant", " ".join(chosen))], "rejected": [("assistant", " ".join(rejected))]}
    measures = {"chosen_nll": dice.gauss(200, 30), "chosen_tokens": 200, "rejected_nll": dice.gauss(230, 30), "rejected_tokens": 200, "edited_words": 30}
    conversations = {side: [{"role": role, "content": content} for role, content in said] for side, said in turns.items()}
    authors = {"policy": "hub:org/p@0", "improver": "hub:org/p@0", "scorer": "hub:org/p@0"}
    return cast(Row, {**conversations, **measures, **authors, "prompt_id": prompt_id, "sample": 0, "source": "train.jsonl"})


def changes(rows: int) -> list[Change]:
    """The ways in which one row in a hundred can be new."""
    new = [pair(rows + i) for i in range(max(1, rows // CHANGED))]

    def scattered(old: Sequence[Row]) -> list[Row]:
        places = sorted(random.Random(1).sample(range(len(old)), len(new)), reverse=True)
        found = list(old)
        for place, row in zip(places, new, strict=True):
            found.insert(place, row)
        return found

    def replaced(old: Sequence[Row]) -> list[Row]:
        places = random.Random(2).sample(range(len(old)), len(new))
        there = dict(zip(places, new, strict=True))
        return [there.get(number, row) for number, row in enumerate(old)]

    middle = rows // 2
    return [
        Change("nothing but the fingerprint", list),
        Change("1 % appended", lambda old: [*old, *new]),
        Change("1 % inserted in the middle", lambda old: [*old[:middle], *new, *old[middle:]]),
        Change("1 % inserted here and there", scattered),
        Change("1 % replaced here and there", replaced),
    ]


def written(folder: Path, rows: Sequence[Row], part_rows: int, fingerprint: str) -> list[Path]:
    """The parts of a dataset, as every stage writes them."""
    folder.mkdir()
    pairs = schema("pairs")
    for part, start in enumerate(range(0, len(rows), part_rows)):
        table = arrow_table(rows[start : start + part_rows], pairs, place="benchmark")
        write_parquet(folder / f"part-{part:05}.parquet", table, pairs, fingerprint=fingerprint)
    return sorted(folder.glob("*.parquet"))


def uploaded(store: Path, parts: Sequence[Path]) -> int:
    """Bytes of chunks that an upload adds to a store."""
    before = chunk_bytes(store)
    with hf_xet.XetSession().new_upload_commit(endpoint=f"local://{store}") as commit:
        for part in parts:
            commit.start_upload_file(str(part), sha256=file_digest(part))
    return chunk_bytes(store) - before


def chunk_bytes(store: Path) -> int:
    """Bytes of all chunks in a store, compressed as they are sent."""
    return sum(path.stat().st_size for path in store.glob("xet/xorbs/xorbs/default.*") if path.suffix != ".tagset")


def report(rows: int, part_rows: int, folder: Path) -> None:
    """Prints the table of one part size."""
    old = [pair(number) for number in range(rows)]
    first = written(folder / "first", old, part_rows, "0" * 64)
    size, known = sum(path.stat().st_size for path in first), {file_digest(path) for path in first}
    (folder / "store").mkdir()
    sent = uploaded(folder / "store", first)
    print(f"\n{rows} rows in parts of {part_rows}: {len(first)} files, {size / 1e6:.2f} MB\n")
    print("| next version | files by LFS | MB by LFS | MB by xet | of all |\n| --- | --- | --- | --- | --- |")
    print(f"| the first one | {len(first)} | {size / 1e6:.2f} | {sent / 1e6:.2f} | {sent / size:.1%} |")
    for number, change in enumerate(changes(rows)):
        parts = written(folder / f"next-{number}", change.rows(old), part_rows, f"{number + 1:064x}")
        other = [path for path in parts if file_digest(path) not in known]
        store = shutil.copytree(folder / "store", folder / f"store-{number}")
        sent = uploaded(store, parts)
        print(
            f"| {change.name} | {len(other)} of {len(parts)} | {sum(path.stat().st_size for path in other) / 1e6:.2f} | {sent / 1e6:.2f} | {sent / size:.1%} |"
        )


def main() -> None:
    """Prints a table for one large part, as stages over tables write them, and one for the parts of row-wise stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--part-rows", type=int, nargs="+", default=[131072, 2048])
    given = parser.parse_args()
    for part_rows in given.part_rows:
        with tempfile.TemporaryDirectory(prefix="sgpo-publish-bytes-") as folder:
            report(given.rows, part_rows, Path(folder))


if __name__ == "__main__":
    main()
