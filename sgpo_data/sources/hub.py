"""Raw rows of a dataset on the Hub, at one commit."""

import importlib.util
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sgpo_data.errors import DatasetError, MissingExtraError, first_line
from sgpo_data.hub.client import hub_faults
from sgpo_data.hub.repository import HubRepository
from sgpo_data.names import HubRows
from sgpo_data.sources.record import Record
from sgpo_data.sources.table_files import arrow_records

if TYPE_CHECKING:
    import datasets  # type: ignore[import-untyped]

ARROW_BATCH_ROWS = 256


@dataclass(frozen=True, slots=True)
class HubSplit:
    """A split of a Hub dataset at a commit."""

    name: str
    commit: str
    config: str | None
    split: str

    @property
    def identity(self) -> str:
        """Where the rows stand; `default` stands for the config that the commit itself makes its default."""
        return str(HubRows(self.name, self.commit, self.config or "default", self.split))

    def records(self, columns: Collection[str]) -> Iterator[Record]:
        """Every row in order; of other columns than these, the values may be left out.

        Raises DatasetError if the commit has no such config or split, HubError if the download fails.
        """
        if Path(self.name).exists():
            # load_dataset takes the folder for the dataset, whatever the revision.
            raise DatasetError(f"{self.name}: a local path of this name hides the Hub dataset; run from another folder")
        with hub_faults(self.name):
            loaded = self._loaded()
        names = tuple(loaded.column_names)
        # A table of no columns has no rows either.
        wanted = loaded.select_columns([name for name in names if name in columns] or names[:1]).with_format("arrow")
        first = 1
        for table in wanted.iter(batch_size=ARROW_BATCH_ROWS):
            for batch in table.to_batches():
                yield from arrow_records(batch, names, name=self.name, first=first)
                first += batch.num_rows

    def _loaded(self) -> "datasets.Dataset":
        import datasets
        import httpx2
        from datasets.data_files import EmptyDatasetError  # type: ignore[import-untyped]

        try:
            return datasets.load_dataset(self.name, self.config, split=self.split, revision=self.commit)
        except ValueError as error:
            raise DatasetError(f"{self.name}: {self._what_is_there(error)}") from error
        except (datasets.exceptions.DataFilesNotFoundError, EmptyDatasetError) as error:
            raise DatasetError(f"{self.name}: no data files in it that can be read") from error
        except (datasets.exceptions.DatasetsError, RuntimeError) as error:
            if isinstance(error.__cause__, httpx2.HTTPError | OSError):
                raise error.__cause__ from error
            raise DatasetError(f"{self.name}: cannot be read: {first_line(error.__cause__ or error)}") from error

    def _what_is_there(self, error: ValueError) -> str:
        import datasets

        configs = datasets.get_dataset_config_names(self.name, revision=self.commit)
        if self.config not in (None, *configs):
            return f"no config {self.config!r}; set source.config to one of {', '.join(configs)}"
        if self.config is None and len(configs) > 1 and "default" not in configs:
            return f"several configs; set source.config to one of {', '.join(configs)}"
        splits = datasets.get_dataset_split_names(self.name, self.config, revision=self.commit)
        if self.split not in splits:
            return f"no split {self.split!r}; set source.split to one of {', '.join(splits)}"
        return f"cannot be read: {first_line(error)}"


def hub_split(name: str, *, config: str | None, split: str, revision: str | None) -> HubSplit:
    """The split at the commit that `revision` (the default branch if None) stands for now; a full commit hash is taken as it is.

    Raises DatasetError if there is no such dataset or revision, HubError if the Hub cannot be asked, MissingExtraError without `datasets`.
    """
    if importlib.util.find_spec("datasets") is None:
        raise MissingExtraError("datasets", "datasets")
    commit = HubRepository(name).commit(revision)
    return HubSplit(name, commit, config, split)
