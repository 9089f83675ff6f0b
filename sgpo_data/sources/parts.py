"""The parts of a raw row: which column each is read from, and its value, checked as it is read."""

from collections.abc import Mapping
from dataclasses import dataclass

from sgpo_data.rows import Message
from sgpo_data.sources.json_objects import OverwrittenObject
from sgpo_data.sources.odd_row import Place, Wording
from sgpo_data.sources.record import Record
from sgpo_data.sources.turns import LOST, SourceTurn, are_turns, read_history, read_text, read_turns, unwrapped

PASSAGES = ("context", "passage")
"""Columns that hold one text in some sets, and lists of titles and sentences in others."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A shape, and which column each of its parts is read from; parts that no column gives are left out."""

    shape: str
    columns: Mapping[str, str]

    def __str__(self) -> str:
        return f"shape {self.shape}: " + ", ".join(f"{part} from column {column}" for part, column in self.columns.items())


@dataclass(frozen=True, slots=True)
class Parts:
    """The values of a row by part, each checked as it is read."""

    record: Record
    binding: Binding
    unread: list[str]
    """What of the row is not read; added to as it is met."""

    @property
    def row(self) -> Place:
        """Where the row stands."""
        return Place(self.record.place)

    def value(self, part: str) -> object:
        """None if no column gives it, or the column is null; turns that a text holds as JSON, and one turn alone, are a list of turns."""
        column = self.binding.columns.get(part)
        if column is None:
            return None
        if isinstance(self.record.values, OverwrittenObject):
            self._refuse_lost(self.record.values, column)
        return unwrapped(self.record.values.get(column), self.place(part))

    def _refuse_lost(self, values: OverwrittenObject, column: str) -> None:
        if column in values.own:
            raise self.row.inside(column).odd("stands twice in the row")
        if column in values.inside:
            raise self.row.inside(column).odd(LOST, Wording(repr(values.inside[column]), "a key"))

    def text(self, part: str) -> str:
        """Raises OddRowError if it is none."""
        return read_text(self.value(part), self.place(part))

    def optional(self, part: str) -> str:
        """Its text; the empty one if no column gives it, or the column is null. A context that is no text is not read, and named."""
        value = self.value(part)
        if value is not None and not isinstance(value, str) and self.binding.columns[part] in PASSAGES:
            self.unread.append(self.binding.columns[part])
            return ""
        return "" if value is None else self.text(part)

    def turns(self, part: str) -> list[SourceTurn]:
        """Raises OddRowError if it is no list of turns."""
        return self.turns_of(part, self.value(part))

    def turns_of(self, part: str, value: object) -> list[SourceTurn]:
        """The turns of a value that stands inside the part."""
        found = read_turns(value, self.place(part))
        self.unread.extend(f"{self.binding.columns[part]}.{key}" for turn in found for key in turn.unread)
        return found

    def history(self) -> list[Message]:
        """The turns before the prompt, of pairs of a question and an answer or turns as they stand; none if no column gives them."""
        value = self.value("history")
        if are_turns(value):
            return [turn.message for turn in self.turns_of("history", value)]
        return [] if value is None else list(read_history(value, self.place("history")))

    def answer(self, part: str) -> str | None:
        """Given as text, or as a list of one assistant turn."""
        value = self.value(part)
        if value is None:
            return None
        if not isinstance(value, list):
            return self.text(part)
        turns = self.turns(part)
        if len(turns) != 1 or turns[0].message["role"] != "assistant":
            roles = ", ".join(turn.message["role"] for turn in turns)
            raise self.place(part).odd("has the roles {}, not one assistant turn", Wording(roles, "of other turns"))
        return turns[0].learned

    def place(self, part: str) -> Place:
        """Where the part stands, by the column that it is read from."""
        return self.row.inside(self.binding.columns.get(part, part))
