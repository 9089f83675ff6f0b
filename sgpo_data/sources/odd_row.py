"""A row that cannot be read: what is said of it, and what rows of its kind have in common."""

from dataclasses import dataclass
from typing import NamedTuple

from sgpo_data.errors import SchemaError


class OddRowError(SchemaError):
    """A row that is no prompt."""

    def __init__(self, message: str, place: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.place = place
        """The source, and the line or row, from 1."""
        self.reason = reason
        """The message without its place and without what this row alone holds: one of few."""

    @property
    def says_no_more(self) -> bool:
        """Whether the message is the place and the reason."""
        return str(self) == f"{self.place}: {self.reason}"


class BrokenRowError(OddRowError):
    """A row that is not written as its kind of file writes rows, so nothing of it is known."""


@dataclass(frozen=True, slots=True)
class Wording:
    """Words for one row, and for all rows of its kind."""

    full: str
    kind: str


class Place(NamedTuple):
    """Where in a source a value stands; put into words only where a row is odd."""

    row: str
    """The source, and the line or row, from 1."""
    outer: "Place | None" = None
    """What it is inside of; None for the row."""
    name: str = ""
    """Of the column, of the key, or of what it is one of many of."""
    number: int | None = None
    """Among these, from 1."""

    def inside(self, name: str) -> "Place":
        """A part of a row, or of what stands here."""
        return Place(self.row, self, name)

    def item(self, kind: str, number: int) -> "Place":
        """One of many that stand here, from 1; the rows of one kind have it anywhere."""
        return Place(self.row, self, kind, number)

    @property
    def part(self) -> Wording:
        """The column and what is inside it: `messages, message 2: content`, and `messages: content` for all rows."""
        if self.outer is None:
            return Wording("", "")
        before = self.outer.part
        if self.number is not None:
            return Wording(f"{before.full}, {self.name} {self.number}", before.kind)
        return Wording(*(f"{each}: {self.name}" if each else self.name for each in (before.full, before.kind)))

    def odd(self, says: str, *found: Wording) -> OddRowError:
        """The error of this row: its place, then `says`, with what was found in its braces."""
        return OddRowError(*self._worded(says, found))

    def broken(self, says: str, *found: Wording) -> BrokenRowError:
        """The same of a row of which nothing is known."""
        return BrokenRowError(*self._worded(says, found))

    def _worded(self, says: str, found: tuple[Wording, ...]) -> tuple[str, str, str]:
        full, kind = (says.format(*values) for values in ([each.full for each in found], [each.kind for each in found]))
        part = self.part
        return f"{self.row}: {f'{part.full} {full}'.lstrip()}", self.row, f"{part.kind} {kind}".lstrip()


def described(value: object) -> Wording:
    """A value as messages say what was found: the value itself if it is short, and its kind."""
    if value is None:
        return Wording("null", "null")
    if isinstance(value, bool):
        return Wording(f"{str(value).lower()} (a boolean)", "a boolean")
    if isinstance(value, int | float):
        return Wording(f"{value} (a number)", "a number")
    if isinstance(value, str):
        return Wording(f"text ({value if len(value) <= 40 else value[:40] + '...'!r})", "text")
    kind = "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else f"a {type(value).__name__}"
    return Wording(kind, kind)


def role(name: str) -> Wording:
    """A role that is not the one that is needed."""
    return Wording(f"role {name!r}", "another role")
