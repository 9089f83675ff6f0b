"""References as they are typed: a dataset or a line that says where to look."""

from pathlib import Path

from sgpo_data.dataset import Dataset, find_dataset
from sgpo_data.errors import DatasetError


def dataset_of(reference: str, root: Path) -> Dataset:
    """The dataset a reference names.

    Raises DatasetError if there is none.
    """
    dataset = find_dataset(reference, root)
    if dataset is None:
        raise DatasetError(f"{reference}: no such dataset, here or in {root}; give the folder that a stage printed")
    return dataset
