"""A row that cannot be read: what is said of it, and what rows of its kind have in common."""

from dataclasses import dataclass
from typing import NamedTuple

from sgpo_data.errors import SchemaError
from sgpo_data.printable import printable

EXAMPLE_CHARACTERS = 200


class OddRowError(SchemaError):
    """A row that is no prompt."""

    def __init__(self, message: str, place: str = "", reason: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.place = place
        """The source, and the line or row, from 1."""
        self.reason = reason
        """The message without its place, its advice and what this row alone holds: one of few."""
        self.advice = advice
        """What the message ends with that a count of such rows does without."""

    @property
    def example(self) -> str:
        """The place, with what the message says beyond the reason: for a line that has told the reason already."""
        said = str(self.args[0]).removesuffix(self.advice).removeprefix(f"{self.place}: ").split()
        beyond = _beyond(said, self.reason.split())
        return printable(f"{self.place}: {_shortened(' '.join(beyond))}" if beyond else self.place)


def _beyond(said: list[str], reason: list[str]) -> list[str]:
    """The words that follow those that both begin with; all words if that is only one."""
    same = next((at for at, (one, other) in enumerate(zip(said, reason, strict=False)) if one.rstrip(":") != other.rstrip(":")), min(len(said), len(reason)))
    return said if same == 1 else said[same:]


def _shortened(text: str) -> str:
    """The text, or as many whole words of it as fit."""
    return text if len(text) <= EXAMPLE_CHARACTERS else f"{text[:EXAMPLE_CHARACTERS].rpartition(' ')[0] or text[:EXAMPLE_CHARACTERS]} ..."


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

    def odd(self, says: str, *found: Wording, advice: str = "") -> OddRowError:
        """The error of this row: its place, then `says`, with what was found in its braces, and advice that is as long as it takes."""
        message, place, reason = self._worded(says, found)
        return OddRowError(f"{message}{advice}", place, reason, advice)

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
