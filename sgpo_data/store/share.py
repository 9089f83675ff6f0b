"""The parts of a dataset that one process of several makes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sgpo_data.errors import UsageError


@dataclass(frozen=True, slots=True)
class PartRange:
    """Every `count`-th part, from the `index`-th on; counted from 1."""

    index: int
    count: int

    @classmethod
    def parsed(cls, text: str) -> PartRange:
        """As it is written: 3/8.

        Raises UsageError if it is no such share.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"--part-range {text}: is no I/N with I from 1 to N; of a Slurm array: --array=1-8 and --part-range $SLURM_ARRAY_TASK_ID/8")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of_part(cls, part: int, count: int) -> PartRange:
        """The one of so many that a part belongs to."""
        return cls(part % count + 1, count)

    def has(self, part: int) -> bool:
        """Whether the part is one of these."""
        return part % self.count == self.index - 1

    def rows_of(self, rows: int, part_rows: int) -> int:
        """How many of so many rows lie in these parts."""
        return sum(min(part_rows, rows - begin) for begin in range((self.index - 1) * part_rows, rows, self.count * part_rows))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True, slots=True)
class PartShare:
    """What one process of several makes of a dataset."""

    place: Path
    """Its own folder in the work folder of the dataset, with its lock and what it has cost."""
    takes: Callable[[int], bool]
    """Whether a part is its own; asked once, when the stream reaches it."""
