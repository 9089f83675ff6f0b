"""Parts of a dataset as package `datasets` has them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from sgpo_data.errors import MissingExtraError

if TYPE_CHECKING:
    import datasets  # type: ignore[import-untyped]


def to_datasets(paths: Sequence[Path], schema: pa.Schema) -> "datasets.Dataset":
    """All rows, in order, memory-mapped from the cache of `datasets`, so that they need not fit into memory.

    Raises MissingExtraError if it is not installed.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise MissingExtraError("datasets", "datasets") from error

    if not paths:
        return datasets.Dataset(schema.empty_table())
    return datasets.Dataset.from_parquet([str(path) for path in paths])
