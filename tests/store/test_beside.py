import random
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import numbered
from literal_rows import row
from made import made_dataset

from sgpo_data.schema import schema
from sgpo_data.store.at_once import aligned, write_beside
from sgpo_data.store.beside import write_beside as write_file
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.manifest import FileRecord
from sgpo_data.store.parquet import write_parquet
from sgpo_data.store.resume import take_up

SCORED, FILTERED = schema("scored"), schema("filtered")
RULES = (None, "length", "ppl")


def scored(rows: int, chance: random.Random, *, begin: int = 0) -> pa.Table:
    def text() -> str | None:
        return chance.choice((None, "", "a", "🦊 é\n", "word " * chance.randrange(400)))

    made = [row(str(at), response=text(), improved=text(), reference=text(), improved_words=chance.choice((None, at))) for at in range(begin, begin + rows)]
    return pa.Table.from_pylist(made, schema=SCORED.arrow)


def decided(rows: int, chance: random.Random) -> pa.Table:
    drawn = [chance.choice(RULES) for _ in range(rows)]
    return pa.table({"dropped_by": drawn, "failed_rules": [[rule] if rule else [] for rule in drawn]}, schema=FILTERED.own.arrow)


def whole(parts: list[pa.Table], own: pa.Table) -> pa.Table:
    rows = pa.concat_tables(parts)
    return pa.table([*rows.columns, *own.columns], schema=FILTERED.arrow)


def put(folder: Path, parts: list[pa.Table]) -> list[Path]:
    paths = [folder / f"part-{at:05}.parquet" for at in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        write_parquet(path, part, SCORED, fingerprint="a")
    return paths


def test_what_is_copied_is_to_the_byte_what_would_be_written(tmp_path: Path) -> None:
    chance = random.Random("bytes")
    rows, own = scored(40_000, chance), decided(40_000, chance)
    (source,) = put(tmp_path, [rows])
    copied = write_file(tmp_path / "copied.parquet", [source], own, FILTERED, fingerprint="b")
    written = write_parquet(tmp_path / "written.parquet", whole([rows], own), FILTERED, fingerprint="b")
    assert copied.model_copy(update={"name": written.name}) == written
    assert pq.ParquetFile(tmp_path / "copied.parquet").metadata.num_row_groups == 2


def test_random_rows_of_several_parts_are_read_whole_by_all_who_read_parquet(tmp_path: Path) -> None:
    for number, chance in enumerate(numbered("beside")):
        if number % 100:
            continue
        sizes = [chance.randrange(1, 50) for _ in range(chance.randrange(1, 5))]
        parts, own = [scored(size, chance, begin=100 * at) for at, size in enumerate(sizes)], decided(sum(sizes), chance)
        path = tmp_path / "joined.parquet"
        write_file(path, put(tmp_path, parts), own, FILTERED, fingerprint="b")
        expected = whole(parts, own)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            found = file.read()
            assert [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)] == sizes
        found.validate(full=True)
        assert found.equals(expected)
        assert pl.read_parquet(path).equals(pl.DataFrame(expected))
        with duckdb.connect() as con:
            assert con.read_parquet(str(path)).to_arrow_table().cast(FILTERED.arrow).equals(expected)


def test_the_page_index_names_the_pages(tmp_path: Path) -> None:
    """Read by what asks for ranges alone; an offset from another file would give another row."""
    from thriftpy2.utils import deserialize

    from sgpo_data.store.beside import _COMPACT, _FORMAT, _File

    chance = random.Random("index")
    parts = [scored(3_000, chance, begin=3_000 * at) for at in range(3)]
    path = tmp_path / "joined.parquet"
    write_file(path, put(tmp_path, parts), decided(9_000, chance), FILTERED, fingerprint="b")
    with path.open("rb") as content:
        file = _File.of(content)
        for group in file.footer.row_groups:
            for column in group.columns:
                index = deserialize(_FORMAT.OffsetIndex(), file.read(column.offset_index_offset, column.offset_index_length), _COMPACT)
                bounds = deserialize(_FORMAT.ColumnIndex(), file.read(column.column_index_offset, column.column_index_length), _COMPACT)
                assert index.page_locations[0].offset == column.meta_data.data_page_offset
                assert len(index.page_locations) == len(bounds.null_pages)
                for page in index.page_locations:
                    header = deserialize(_FORMAT.PageHeader(), file.read(page.offset, 200), _COMPACT)
                    assert header.compressed_page_size < page.compressed_page_size <= header.compressed_page_size + 200


OTHER_WRITERS = (
    "import pyarrow.parquet as pq; pq.write_table(pq.ParquetFile(path).read(), path, version='1.0', compression='snappy')",
    "import polars as pl; pl.read_parquet(path).write_parquet(path)",
    "import duckdb, os; duckdb.execute(f\"COPY (FROM read_parquet('{path}')) TO '{path}.new' (FORMAT parquet)\"); os.replace(path + '.new', path)",
)


@pytest.mark.parametrize("rewrite", OTHER_WRITERS)
def test_a_part_that_another_program_wrote_has_its_rows_all_the_same(rewrite: str, tmp_path: Path) -> None:
    chance = random.Random("others")
    parts, own = [scored(20, chance), scored(30, chance, begin=20)], decided(50, chance)
    sources = put(tmp_path, parts)
    subprocess.run([sys.executable, "-c", f"path = {str(sources[1])!r}; {rewrite}"], check=True)
    path = tmp_path / "joined.parquet"
    write_file(path, sources, own, FILTERED, fingerprint="b")
    assert pq.ParquetFile(path).read().equals(whole(parts, own))
    assert pq.ParquetFile(path).schema_arrow.equals(FILTERED.arrow)


@pytest.fixture
def source(tmp_path: Path) -> Dataset:
    return made_dataset(tmp_path / "scored", "scored", [row(str(at)) for at in range(3)], part_rows=3)


def beside(source: Dataset, out: Path, positions: list[int], rules: list[list[str]]) -> None:
    rows = pa.table(
        {"position": positions, "dropped_by": [None] * len(rules), "failed_rules": rules}, schema=pa.schema([("position", pa.int64()), *FILTERED.own.arrow])
    )
    identity = source.manifest.identity.model_copy(update={"stage": "beside"})
    with take_up(out, identity, table="filtered", part_rows=4) as into:
        assert into is not None
        write_beside(into, rows.to_reader(), source)


def test_rows_that_lost_their_place_are_never_written(source: Dataset, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="out of order"):
        beside(source, tmp_path / "out", [0, 2, 1], [[], [], []])
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_what_is_added_is_held_against_the_checks_of_its_table(source: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="dropped_by IS NOT DISTINCT FROM"):
        beside(source, tmp_path / "out", [0, 1, 2], [[], ["length"], []])


@pytest.mark.parametrize(
    ("sizes", "copied"),
    [
        ([], False),
        ([5], True),
        ([131072], True),
        ([131073], False),
        ([2048, 2048, 7], True),
        ([131072, 131072], True),
        ([1024, 1024], False),
        ([3000, 3000], False),
        ([2048, 7, 2048], False),
        ([2048, 4096], False),
        ([262144, 5], False),
    ],
)
def test_parts_are_copied_where_they_end_as_those_of_the_table_do_and_are_large(sizes: list[int], copied: bool, source: Dataset) -> None:
    files = tuple(FileRecord(name=f"{at}", rows=rows, bytes=1, sha256="") for at, rows in enumerate(sizes))
    assert aligned(source.manifest.model_copy(update={"files": files}), 131072) is copied
