"""Parquet files elsewhere, as an Arrow dataset that reads ahead no more than it takes for rows to be there in time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as pads
from pyarrow.fs import FSSpecHandler, PyFileSystem

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MOST = {"batch_size": 8192, "batch_readahead": 2, "fragment_readahead": 1}
"""With what Arrow takes by itself, gigabytes of texts wait where DuckDB takes them slowly."""


class _Unhurried(pads.FileSystemDataset):
    def scanner(self, *_: Any, **settings: Any) -> pads.Scanner:  # noqa: ANN401
        """As asked, by DuckDB for example, but for what is read ahead."""
        return super().scanner(**settings | {name: min(settings.get(name, most), most) for name, most in MOST.items()})


def unhurried(paths: Sequence[str], system: "AbstractFileSystem", schema: pa.Schema) -> pads.FileSystemDataset:
    """The files of these paths, each page held against its checksum."""
    options = pads.ParquetFragmentScanOptions(pre_buffer=True, page_checksum_verification=True)
    form = pads.ParquetFileFormat(default_fragment_scan_options=options)
    files = PyFileSystem(FSSpecHandler(system))  # type: ignore[abstract]
    return _Unhurried([form.make_fragment(path, files) for path in paths], schema, form, files)
