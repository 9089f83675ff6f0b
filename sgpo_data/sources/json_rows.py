"""The rows that a JSON value holds."""

from collections.abc import Collection, Mapping, Sequence

from sgpo_data.errors import DatasetError
from sgpo_data.sources.json_objects import OverwrittenObject, object_of
from sgpo_data.sources.odd_row import Place, described
from sgpo_data.sources.record import Record
from sgpo_data.sources.shapes import SHAPES
from sgpo_data.sources.turns import are_turns

CHAT = "messages"
"""The column that a chat without one is given."""


def json_record(values: object, place: str, source: str) -> Record:
    """An object as a row, and a bare list of turns as a row of one chat; another value is a row with a fault."""
    if are_turns(values):
        values = object_of([(CHAT, values)])
    if not isinstance(values, dict):
        return Record({}, (), place, source, Place(place).odd("{}, not an object", described(values)))
    return Record(values, tuple(values), place, source)


def rows_of(value: object, columns: Collection[str], *, name: str) -> Sequence[object]:
    """The rows of a file's value: those of a list, or of the one list of an object; or the value itself if it is a row.

    Raises DatasetError if it is none of these. `columns` are those that are read.
    """
    if (are_turns(value) and not _are_rows(value, columns)) or (isinstance(value, dict) and _is_row(value) and not _holds_rows(value)):
        return [value]
    if isinstance(value, OverwrittenObject) and value.own:
        raise DatasetError(f"{name}: the key {value.own[0]!r} stands twice in the object that holds the rows; keep one, or rename one")
    if isinstance(value, dict) and (table := _table_of(value, columns)):
        return table
    if isinstance(value, dict):
        lists = [key for key, held in value.items() if isinstance(held, list)]
        if len(lists) != 1:
            raise DatasetError(f"{name}: an object with {len(lists)} lists ({', '.join(value)}); one list of rows was expected")
        held = value[lists[0]]
        if are_turns(held) and not _are_rows(held, columns):
            # What stands beside the turns is of the same chat.
            return [value if lists[0] in columns or CHAT in value else object_of([(CHAT if key == lists[0] else key, each) for key, each in value.items()])]
        value = held
    if not isinstance(value, list):
        raise DatasetError(f"{name}: {described(value).full}, not a list of objects")
    return value


def _table_of(value: Mapping[str, object], columns: Collection[str]) -> list[object]:
    """The rows of a table by columns, as `DataFrame.to_dict("list")` and `DataFrame.to_json()` give it; none if it is no such table."""
    cells = [list(held.values()) if isinstance(held, dict) else held for held in value.values()]
    if _holds_rows(value) or not any(name in columns for name in value):
        return []
    lists = [held for held in cells if isinstance(held, list)]
    if len(lists) < len(cells) or len({len(held) for held in lists}) != 1:
        return []
    return [object_of([*zip(value, row, strict=True)]) for row in zip(*lists, strict=True)]


def _are_rows(turns: object, columns: Collection[str]) -> bool:
    """Whether objects with a role and a content are read by columns all the same."""
    return isinstance(turns, list) and any(not {"role", "content", "from", "value"}.isdisjoint(columns) or _is_row(turn) for turn in turns)


def _is_row(value: Mapping[str, object]) -> bool:
    """Whether an object has the columns of a shape, with texts or turns in them, and is no table of such rows."""
    return any(all(any(_says_something(value.get(name)) for name in shape.parts[part]) for part in shape.required) for shape in SHAPES.values())


def _holds_rows(value: Mapping[str, object]) -> bool:
    """Whether an object is a table of rows that says something of itself under the name of a column."""
    return any(_is_row(held[0]) for held in value.values() if isinstance(held, list) and held and isinstance(held[0], Mapping))


def _says_something(value: object) -> bool:
    return isinstance(value, str) or are_turns(value)
