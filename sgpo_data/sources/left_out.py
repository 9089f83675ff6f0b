"""What of a source is not read, counted and said."""

import logging
from dataclasses import dataclass, field

from sgpo_data.errors import SchemaError
from sgpo_data.sources.shapes import Binding, Prompt, Record

log = logging.getLogger(__name__)

REASONS = 5
"""Reasons that a line names; the rest of the rows is counted together."""


@dataclass
class LeftOut:
    """Rows that cannot be read, and columns and keys that no part of a prompt is read from."""

    reference: str
    reasons: dict[str, int] = field(default_factory=dict)
    """Rows by reason, in the order of the first of each."""
    first: dict[str, str] = field(default_factory=dict)
    """Where the first row of each reason stands."""
    names: dict[str, int] = field(default_factory=dict)
    """Rows that have each column or key that is not read."""
    warnings: list[str] = field(default_factory=list)
    """What was said of rows left out, for the manifest."""
    _error: SchemaError | None = None

    def row(self, record: Record, error: SchemaError) -> None:
        """Counts a row that cannot be read."""
        self._error = self._error or error
        reason = str(error).removeprefix(record.place).lstrip(":, ")
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        self.first.setdefault(reason, record.place)

    def unread(self, record: Record, binding: Binding, prompt: Prompt) -> None:
        """Counts what is not read of a row that is."""
        taken = set(binding.columns.values())
        for name in (*(column for column in record.columns if column not in taken), *prompt.unread):
            self.names[name] = self.names.get(name, 0) + 1

    def close(self, read: int) -> None:
        """Says what was not read.

        Raises the error of the first row that cannot be read if there is no other row.
        """
        if self._error is not None and not read:
            raise self._error
        if self.names:
            rows = max(self.names.values())
            log.info("%s: not read: %s (%d rows)", self.reference, ", ".join(self.names), rows)
        if self.reasons:
            listed = [f"{count} {reason} (first: {self.first[reason]})" for reason, count in list(self.reasons.items())[:REASONS]]
            more = sum(list(self.reasons.values())[REASONS:])
            said = f"{sum(self.reasons.values())} rows left out: {'; '.join([*listed, *([f'{more} for other reasons'] if more else [])])}"
            self.warnings.append(said)
            log.warning("%s: %s; source.strict = true refuses them", self.reference, said)
