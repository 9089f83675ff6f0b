"""A raw row, and the prompt that is read of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sgpo_data.rows import Message
from sgpo_data.sources.odd_row import OddRowError


@dataclass(frozen=True, slots=True)
class Record:
    """A raw row. `values` may leave out columns that no shape knows; `columns` names them all."""

    values: Mapping[str, object]
    columns: tuple[str, ...]
    place: str
    """For messages: the source, and the line or row, from 1."""
    source: str
    """As column `source` of table prompts has it."""
    fault: OddRowError | None = None
    """Why it has no columns, if it has none."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation up to the turn to be answered, and the answers that came with it."""

    messages: list[Message]
    reference: str | None
    rejected: str | None
    unread: tuple[str, ...] = ()
    """What of the row holds something and is not read, besides columns that no part is read from: keys of messages, tools, a label beside no answer."""
