"""Files of a folder by the split that their names tell, as a clone of a Hub dataset has them."""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from sgpo_data.errors import DatasetError

WORDS: Mapping[str, str] = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
"""https://huggingface.co/docs/datasets/repository_structure: words in file and folder names, and the split they stand for."""
NAMED = re.compile(r"[a-z_]+")


def split_of(name: PurePosixPath) -> str | None:
    """The split a file's name or folder tells; None if they tell none. `train_sft-00000.parquet` is of split train_sft, `my_train.csv` of train."""
    for word in reversed(NAMED.findall(name.as_posix().lower())):
        pieces = word.strip("_").split("_")
        known = next((piece for piece in pieces if piece in WORDS), None)
        if known is not None:
            return "_".join(pieces) if known == pieces[0] != pieces[-1] else WORDS[known]
    return None


def of_split(names: Iterable[PurePosixPath], split: str, *, place: str) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
    """The files of a split, and those of others; all of them where no name tells a split.

    Where there is no train, and of all that begin with it only train_data, that is taken.
    Raises DatasetError if names tell splits, but not this one.
    """
    listed = list(names)
    splits = {name: split_of(name) for name in listed}
    told = sorted({found for found in splits.values() if found is not None})
    wanted = WORDS.get(split, split)
    if not told or len(listed) == 1:
        return listed, []
    longer = [found for found in told if WORDS.get(found.partition("_")[0]) == wanted]
    if wanted not in told and len(longer) == 1:
        wanted = longer[0]
    mine = [name for name in listed if splits[name] == wanted]
    if not mine:
        raise DatasetError(f"{place}: no file of split {split} in this folder; it has {', '.join(told)}; set source.split, or name one file")
    return mine, [name for name in listed if splits[name] != wanted]
