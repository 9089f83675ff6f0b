"""What of a source is not read, counted and said."""

import logging
from dataclasses import dataclass, field

from sgpo_data.sources.odd_row import OddRowError
from sgpo_data.sources.parts import Binding
from sgpo_data.sources.record import Prompt, Record

log = logging.getLogger(__name__)

REASONS = 5
"""Reasons that a line names; the rest of the rows is counted together."""
NAMES = 100
"""Names that are kept and said: rows of JSON can have any number of keys."""

NAMELESS = "a column without a name"


@dataclass
class LeftOut:
    """Rows that cannot be read, and columns and keys that no part of a prompt is read from."""

    reference: str
    reasons: dict[str, int] = field(default_factory=dict)
    """Rows by reason, in the order of the first of each."""
    first: dict[str, str] = field(default_factory=dict)
    """The place of the first row of each reason, and what was found."""
    names: dict[str, None] = field(default_factory=dict)
    """Columns and keys that are not read, in the order in which they came."""
    rows: int = 0
    """Rows that have any of them."""
    warnings: list[str] = field(default_factory=list)
    """What was said of rows left out, for the manifest."""
    error: OddRowError | None = None
    """Of the first row that cannot be read."""

    def row(self, error: OddRowError) -> None:
        """Counts a row that cannot be read."""
        self.error = self.error or error
        self.reasons[error.reason] = self.reasons.get(error.reason, 0) + 1
        self.first.setdefault(error.reason, error.example)

    def unread(self, record: Record, binding: Binding, prompt: Prompt) -> None:
        """Counts a row that is read if something of it is not."""
        taken = set(binding.columns.values())
        names = [*(column for column in record.columns if column not in taken), *prompt.unread]
        self.rows += bool(names)
        self.names.update((name, None) for name in names if len(self.names) <= NAMES)

    def close(self, read: int) -> None:
        """Says what was not read.

        Raises the error of the first row that cannot be read if there is no other row.
        """
        if self.error is not None and not read:
            raise self.error
        if self.names:
            names = ", ".join(name or NAMELESS for name in list(self.names)[:NAMES]) + (" and more" if len(self.names) > NAMES else "")
            log.info("%s: not read: %s (%s)", self.reference, names, _counted(self.rows))
        if self.reasons:
            listed = [f"{count} {reason} (first: {self.first[reason]})" for reason, count in list(self.reasons.items())[:REASONS]]
            more = sum(list(self.reasons.values())[REASONS:])
            said = f"{_counted(sum(self.reasons.values()))} left out: {'; '.join([*listed, *([f'{more} for other reasons'] if more else [])])}"
            self.warnings.append(said)
            log.warning("%s: %s; source.strict = true refuses them", self.reference, said)


def _counted(rows: int) -> str:
    return f"{rows} row{'s' * (rows != 1)}"
