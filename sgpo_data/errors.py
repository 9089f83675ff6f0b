"""The errors users see, by whose turn it is to act."""

import json
from collections.abc import Iterable
from difflib import get_close_matches

from sgpo_data.printable import printable


class SgpoError(Exception):
    """An error with one line for the user: where, what is wrong with the value found, what to do.

    Several faults are several lines, each an argument of its own.
    """

    exit_code = 1

    def __str__(self) -> str:
        # Names and values come from anywhere, and what they are written to is a terminal.
        return "\n".join(printable(str(line)) for line in self.args)


class RecipeError(SgpoError):
    """A recipe, a flag or a template asks for what cannot be done: edit it."""


class SchemaError(SgpoError):
    """Rows are of the wrong kind for the table they are meant for."""


class DatasetError(SgpoError):
    """A dataset or a source is missing, incomplete or in use."""


class ModelError(SgpoError):
    """A model is missing, incomplete, not what it was, or not of the kind that is needed."""


class QueryError(SgpoError):
    """A query typed by hand cannot be run: type another."""


class MissingRepositoryError(DatasetError):
    """The Hub has no such repository, or shows none to this login."""


class EngineError(SgpoError):
    """An engine cannot go on; a single bad request is a result, not an error."""


class MissingExtraError(SgpoError):
    """A part of the toolkit that is installed on request is not installed."""

    def __init__(self, extra: str, package: str, instead: str = "") -> None:
        super().__init__(f"{package} is not installed; run: pip install 'sgpo-data[{extra}]'{instead and f'; or {instead}'}")
        self.extra = extra
        self.package = package
        self.instead = instead
        """What does without it."""

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str, str]]:
        """It may come from another process."""
        return type(self), (self.extra, self.package, self.instead)


class GateError(SgpoError):
    """A check the user asked for found something: nothing is broken but the data."""

    exit_code = 3


class HubError(SgpoError):
    """The Hub or the network on the way to it failed: worth trying again."""

    exit_code = 4

    def __init__(self, fault: str, advice: str = "") -> None:
        super().__init__(f"{fault}; {advice}" if advice else fault)
        self.fault = fault
        """The message without what to do."""


class StorageError(SgpoError):
    """A bucket or the network on the way to it failed: worth trying again."""

    exit_code = 4


class ServerError(SgpoError):
    """The server of a model is down, overloaded or broken off: worth trying again."""

    exit_code = 4


class UsageError(SgpoError):
    """A command line that makes no sense."""

    exit_code = 2


GOT_CHARACTERS = 60


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` for the known name that this one is closest to, or all names where none is close."""
    names = list(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(names)}"


def first_line(error: BaseException) -> str:
    """What an error of a library says, without what follows, as a part of a sentence."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    # A line that ends with a colon says less than the one after it.
    said = " ".join(lines[:2] if lines and lines[0].endswith(":") else lines[:1])
    return said.rstrip(".") or type(error).__name__


def got(value: object) -> str:
    """The value found, as it is written in TOML, cut where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        # Nested too deeply, an integer of thousands of digits, or keys that are no text.
        return f"(got a value of type {type(value).__name__})"
    return f"(got {text if len(text) <= GOT_CHARACTERS else text[: GOT_CHARACTERS - 3] + '...'})"
