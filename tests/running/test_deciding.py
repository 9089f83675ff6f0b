"""Claims about how a table-wise stage reads its table: in order, as a stream, whatever it decides."""

from pathlib import Path

import pytest
from literal_rows import key, row
from made import made_dataset

from sgpo_data.running.deciding import deciding
from sgpo_data.stages import TableStage
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.store.dataset import Dataset

STAGES: dict[str, TableStage] = {
    "filter": Filter(),
    "filter by every strategy": Filter.model_validate({"ppl": {"strategy": "sandwich+ratio+margin+tukey+quantile"}, "rules": {"mine": "improved != 'x'"}}),
    "pairs": Pair(),
    "pairs drawn": Pair(per_prompt=1, limit=20),
    "examples with replay": Pair(kind="examples", per_prompt=2, replay=0.5),
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    """Some prompts answer the same twice."""
    folder = tmp_path_factory.mktemp("tables")
    rows = [row(f"{at // 3}", sample=at % 3, improved="same" if at % 9 < 2 else f"improved {at}") for at in reversed(range(90))]
    return {table: made_dataset(folder / table, table, rows, part_rows=7) for table in ("scored", "filtered")}


@pytest.mark.parametrize("name", STAGES)
def test_rows_are_neither_joined_nor_sorted(name: str, tables: dict[str, Dataset], tmp_path: Path) -> None:
    """Either would lose the order, or hold all texts at once."""
    stage = STAGES[name]
    source = tables[stage.reads[0]]
    with deciding(source, tmp_path) as con:
        rows = stage.table(con, source.table).rows
        plan = rows.explain().upper()
        assert "PARQUET" in plan
        assert not [word for word in ("JOIN", "ORDER", "TOP_N", "TOP N", "WINDOW", "AGGREGATE", "PRODUCT") if word in plan]
        made = [(each["prompt_id"], each["sample"]) for each in rows.to_arrow_table().to_pylist() if each.get("kind") != "reference"]
    given = [key(dict(each)) for each in source.rows()]
    assert made == [each for each in given if each in set(made)]
    assert made


def test_positions_are_those_of_the_rows_over_all_parts(tables: dict[str, Dataset], tmp_path: Path) -> None:
    source = tables["scored"]
    with deciding(source, tmp_path) as con:
        found = con.execute("SELECT prompt_id, sample, position FROM input").fetchall()
    assert found == [(*key(dict(each)), number) for number, each in enumerate(source.rows())]
