"""Every fault of a recipe at its place: what pydantic finds, in the words of the file."""

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from types import UnionType
from typing import Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sgpo_data.errors import got, nearest

KeyPath = tuple[str | int, ...]
"""Keys and positions from the top of the file; positions count from 1, so the first phase is `phases.1`."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, with what to do."""

    place: KeyPath
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.place))}: {self.message}" if self.place else self.message


def found_in(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """What pydantic found; an unknown key comes with the nearest known one."""
    return [Fault(_counted_from_1(details["loc"]), _message(details, model)) for details in error.errors()]


def number_faults(value: object, annotation: object, place: KeyPath = ()) -> Iterator[Fault]:
    """Texts and booleans where a number belongs, and numbers that TOML does not have, wherever they stand in a value of this type.

    Only of a file: flags and options of a reference are texts until they are read.
    """
    if isinstance(value, dict):
        table = _table(annotation)
        types = {field.alias or name: field.annotation for name, field in table.model_fields.items()} if table else {}
        for key, inner in value.items():
            yield from number_faults(inner, types.get(key), (*place, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from number_faults(inner, next(iter(get_args(annotation)), None), (*place, number))
    elif message := _number_fault(value, _alternatives(annotation)):
        yield Fault(place, f"{message} {got(value)}")


def mended(given: dict[str, object], places: Iterable[Sequence[str | int]]) -> dict[str, object]:
    """The same without what is at fault, so that the rest of the file can be looked at too."""
    copy = deepcopy(given)
    for place in places:
        *outer, last = place or (None,)
        table: object = copy
        for key in outer:
            inner = table.get(key) if isinstance(table, dict) else None
            if isinstance(inner, list):
                last = key
                break
            table = inner
        if isinstance(table, dict):
            table.pop(last, None)
    return copy


def keys(model: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """The keys of a table as a file spells them, each with the class of the table it holds, if it does."""
    return {field.alias or name: _table(field.annotation) for name, field in model.model_fields.items()}


def _message(details: ErrorDetails, model: type[BaseModel]) -> str:
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "missing":
        return "is missing"
    if details["type"] == "extra_forbidden":
        return f"no such key{_nearest_key(details['loc'], model)} {got(details['input'])}"
    if details["type"] == "list_type" and isinstance(details["input"], dict):
        return f"{message}; write [[{details['loc'][-1]}]], once for each"
    if details["type"] == "literal_error":
        expected = [word.strip("'") for word in str(details.get("ctx", {}).get("expected", "")).replace(" or ", ", ").split(", ")]
        close = get_close_matches(str(details["input"]), expected, n=1)
        return f"{message}{f'; did you mean {close[0]}?' if close else ''} {got(details['input'])}"
    return f"{message} {got(details['input'])}" if details["type"] != "value_error" or not isinstance(details["input"], dict) else message


def _nearest_key(loc: Sequence[str | int], model: type[BaseModel]) -> str:
    """The nearest key at this place; a key of a table inside it counts as well, since that is where it may belong."""
    *outer, last = loc
    table: type[BaseModel] | None = model
    for key in outer:
        table = keys(table).get(str(key)) if table and isinstance(key, str) else table
    if table is None:
        return ""
    here = keys(table)
    inside = {f"{key}.{inner}" for key, held in here.items() if held for inner in keys(held)}
    same = sorted(name for name in inside if name.endswith(f".{last}"))
    return f"; did you mean {same[0]}?" if same else nearest(str(last), [*here, *sorted(inside)] if _is_close(str(last), inside, here) else here)


def _is_close(name: str, inside: Iterable[str], here: Iterable[str]) -> bool:
    return not get_close_matches(name, list(here), n=1) and bool(get_close_matches(name, list(inside), n=1))


def _number_fault(value: object, kinds: Sequence[object]) -> str | None:
    """What is wrong with a value as a number, in pydantic's words where it has some."""
    if isinstance(value, (str, bool)):
        wanted = next((kind for kind in kinds if kind in (int, float)), None) if type(value) not in kinds else None
        return f"Input should be a valid {'integer' if wanted is int else 'number'}" if wanted else None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "Input should be an integer of 64 bits"
    return "Input should be a finite number" if isinstance(value, float) and not isfinite(value) else None


def _alternatives(annotation: object) -> tuple[object, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _table(annotation: object) -> type[BaseModel] | None:
    for candidate in _alternatives(annotation):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _counted_from_1(loc: Iterable[str | int]) -> KeyPath:
    return tuple(key + 1 if isinstance(key, int) else key for key in loc)
