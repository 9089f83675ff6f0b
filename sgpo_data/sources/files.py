"""Raw files: one, or those of a folder, under one identity."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sgpo_data.errors import DatasetError
from sgpo_data.paths import missing_path
from sgpo_data.sources.odd_row import BrokenRowError
from sgpo_data.sources.raw_file import COMPRESSIONS, RawFile, readable
from sgpo_data.sources.record import Record
from sgpo_data.sources.splits import of_split
from sgpo_data.sources.table_files import arrow_rows, parquet_rows
from sgpo_data.sources.text_files import csv_rows, json_line_rows, json_rows, tsv_rows

SAVED_TO_DISK = ("dataset_info.json", "state.json", "dataset_dict.json")
ABOUT = "dataset_infos.json"
"""What a dataset on the Hub used to be described by, beside its rows."""
CARD = "README.md"
PROSE = (".md", "")
CONFIG = re.compile(r"^ *-? *config_name: *[\"']?([^\"'\s]+)", re.MULTILINE)
"""https://huggingface.co/docs/hub/datasets-manual-configuration: at the head of README.md."""
LISTED = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RawFiles:
    """One file, or all files of a folder in the order of their names."""

    files: tuple[RawFile, ...]

    @property
    def identity(self) -> str:
        """SHA-256 over names and contents: the same wherever the files lie."""
        names = json.dumps([[file.name, file.digest] for file in self.files], ensure_ascii=True)
        return "file:" + hashlib.sha256(names.encode()).hexdigest()

    def records(self, columns: Collection[str]) -> Iterator[Record]:
        """Every row in order; of other columns than these, the values may be left out.

        A row that its file does not hold as its kind writes rows has a fault in place of values.

        Raises DatasetError if a file cannot be read on, if more than half of its rows are such, or if it has changed since its content was hashed.
        """
        for file in self.files:
            rows = broken = 0
            first: BrokenRowError | None = None
            for record in _READERS[_kind(file.path)](file, columns):
                rows += 1
                if isinstance(record.fault, BrokenRowError):
                    first, broken = first or record.fault, broken + 1
                yield record
            file.refuse_changed()
            if first is not None and 2 * broken > rows:
                raise DatasetError(f"{first}; {broken} of {rows} rows are broken, so it is damaged, or another kind of file than its name says") from first


def names_a_file(reference: str) -> bool:
    """Whether this ends as the name of a file that can be read does."""
    return _kind(Path(reference)) in _READERS


def could_be_on_hub(reference: str) -> bool:
    """Whether a reference to which no path leads can be `org/name`."""
    return not names_a_file(reference) and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", reference) is not None


def could_be_read(name: str) -> bool:
    """Whether a file of this name in a folder is read, or tells what of the others is."""
    return not any(part.startswith(".") for part in PurePosixPath(name).parts) and (names_a_file(name) or name == CARD)


def raw_files(path: Path, split: str = "train") -> RawFiles:
    """The file, or all files of a known kind in the folder and its subfolders; hidden ones are left out.

    Where names tell splits, as in a clone of a Hub dataset, only those of `split` are taken, and the others are named in the log.
    Raises DatasetError if there is none.
    """
    kinds = ", ".join(_READERS)
    if path.is_dir():
        with readable(str(path)):
            below = {found.relative_to(path): found for found in _files_below(path)}
            named = {name: found for name, found in below.items() if _kind(found) in _READERS and name.name != ABOUT and _leads_to_a_file(found)}
        unknown = sorted(PurePosixPath(name.as_posix()) for name in below if name not in named and name.suffix not in PROSE)
        if any(found.suffix == ".arrow" for found in named.values()):
            # What save_to_disk writes beside its tables describes them.
            named = {name: found for name, found in named.items() if name.name not in SAVED_TO_DISK}
        if not named:
            raise DatasetError(f"{path}: no file of a known kind in this folder; known are {kinds}")
        taken, others = of_split(map(PurePosixPath, sorted(name.as_posix() for name in named)), split, place=str(path))
        if others:
            log.info("%s: split %s; not read: %s", path, split, _listed(others))
        if unknown:
            log.info("%s: not of a kind that can be read: %s", path, _listed(unknown))
        _warn_of_configs(path, taken)
        return RawFiles(tuple(RawFile.hashed(path / name, str(name)) for name in taken))
    if not path.exists():
        raise DatasetError(missing_path(path))
    if _kind(path) not in _READERS:
        raise DatasetError(f"{path}: not a kind of file that can be read (found {path.suffix or 'no suffix'}); convert it to one of {kinds}")
    return RawFiles((RawFile.hashed(path, path.name),))


def _listed(names: Sequence[PurePosixPath]) -> str:
    return ", ".join(map(str, names[:LISTED])) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def _warn_of_configs(path: Path, taken: Collection[PurePosixPath]) -> None:
    """Says so where the files are of several configs, of which the Hub reads one."""
    card = path / CARD
    configs = CONFIG.findall(card.read_text(errors="replace").partition("\n---")[0]) if card.is_file() else []
    read = [config for config in dict.fromkeys(configs) if any(name.parts[0] == config for name in taken)]
    if len(read) > 1:
        log.warning("%s: README.md has %s as configs of their own, and all are read; name one of these folders to read one", path, " and ".join(read))


def _files_below(path: Path) -> Iterator[Path]:
    """All that is no folder, hidden ones left out, links followed; Path.rglob passes over a folder that may not be listed."""
    seen = {path.resolve()}
    for folder, subfolders, names in os.walk(path, onerror=_refuse_folder, followlinks=True):
        # A link may lead to a folder above it, or to one that is listed anyway.
        real = {name: Path(folder, name).resolve() for name in sorted(subfolders) if not name.startswith(".")}
        subfolders[:] = [name for name, place in real.items() if place not in seen]
        seen.update(real.values())
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _leads_to_a_file(path: Path) -> bool:
    if path.is_symlink() and not path.exists():
        raise DatasetError(f"{path}: a link to {os.readlink(path)}, where nothing is; mend the link, or remove it")
    return path.is_file()


def _refuse_folder(error: OSError) -> None:
    raise DatasetError(f"{error.filename}: may not be listed ({error.strerror or error}); change its permissions, or move it away") from error


def _kind(path: Path) -> str:
    name = path.name.lower()
    for compression in COMPRESSIONS:
        if name.endswith(compression):
            kind = Path(name.removesuffix(compression)).suffix
            # Parquet is compressed inside.
            return compression if kind == ".parquet" else kind
    return Path(name).suffix


_READERS: dict[str, Callable[[RawFile, Collection[str]], Iterator[Record]]] = {
    ".jsonl": json_line_rows,
    ".ndjson": json_line_rows,
    ".json": json_rows,
    ".csv": csv_rows,
    ".tsv": tsv_rows,
    ".parquet": parquet_rows,
    ".arrow": arrow_rows,
    ".feather": arrow_rows,
}
