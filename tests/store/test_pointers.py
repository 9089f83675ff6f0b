"""Claims about a dataset in a clone whose files were not fetched."""

from pathlib import Path

import pytest
from literal_rows import row
from made import made_dataset

from sgpo_data.errors import DatasetError
from sgpo_data.schema import schema
from sgpo_data.store.dataset import open_dataset


def test_a_part_that_git_lfs_did_not_fetch_is_named(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path / "rows", "prompts", [{column: row()[column] for column in schema("prompts").column_names}])
    (part,) = dataset.paths
    part.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:x\nsize 1\n")
    with pytest.raises(DatasetError, match=rf"{part}: a Git LFS pointer, not the file itself; run git lfs pull in {tmp_path / 'rows'}"):
        open_dataset(tmp_path / "rows")
