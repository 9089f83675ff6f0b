"""Flags of a command, derived from the fields of pydantic classes."""

import inspect
import json
from collections.abc import Collection, Iterator, Mapping
from types import UnionType
from typing import Annotated, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic import BaseModel, JsonValue, ValidationError
from pydantic.fields import FieldInfo

from sgpo_data.errors import UsageError

M = TypeVar("M", bound=BaseModel)

SIMPLE = (str, int, float, bool)


def parameters(model: type[BaseModel], *, panel: str, prefix: str = "", hidden: Collection[str] = ()) -> Iterator[inspect.Parameter]:
    """One keyword parameter per field, nested fields as `--outer.inner`, with the field's own default and description; `hidden` ones are taken unshown."""
    defaults = {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}
    yield from _parameters(model, defaults, panel, prefix, hidden)


def built(model: type[M], given: Mapping[str, object], *, prefix: str = "") -> M:
    """The model these flags describe.

    Raises UsageError naming each flag with the value found.
    """
    try:
        return model.model_validate(_nested(model, given, prefix))
    except ValidationError as error:
        faults = [f"{_flag(model, prefix, fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}{_got(fault['input'])}" for fault in error.errors()]
        raise UsageError("; ".join(faults)) from error


def _got(value: object) -> str:
    """A value as it was given; all entries of a table were given one by one, and the fault names the one that is meant."""
    return "" if isinstance(value, dict) else f" (got {value})"


def _flag(model: type[BaseModel], prefix: str, place: tuple[int | str, ...]) -> str:
    """The flag of a place in the model; of an entry of a table, with its name."""
    first, *rest = map(str, place) if place else ("",)
    field = model.model_fields.get(first)
    if field is not None and get_origin(field.annotation) is dict:
        return " ".join([f"--{dashed(entry_flag(prefix + first))}", *rest[:1]])
    return f"--{dashed(prefix + '.'.join([first, *rest]))}"


def _parameters(model: type[BaseModel], defaults: Mapping[str, object], panel: str, prefix: str, hidden: Collection[str]) -> Iterator[inspect.Parameter]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            default = defaults[name]
            inner = {key: getattr(default, key) for key in annotation.model_fields}
            yield from _parameters(annotation, inner, panel, f"{prefix}{name}.", hidden)
        else:
            yield _parameter(f"{prefix}{name}", field, defaults[name], panel, hidden=f"{prefix}{name}" in hidden)


def _parameter(key: str, field: FieldInfo, default: object, panel: str, *, hidden: bool) -> inspect.Parameter:
    mapping = get_origin(field.annotation) is dict
    # Entries of a table are given one by one.
    flag = dashed(entry_flag(key) if mapping else key)
    switch = bool in (field.annotation, *get_args(field.annotation))
    names = (f"--{flag}/--no-{flag}",) if switch else (f"--{flag}",)
    option = typer.Option(*names, help=field.description, metavar="NAME=VALUE" if mapping else None, rich_help_panel=panel, hidden=hidden)
    if mapping:
        default = ()
    if isinstance(default, tuple):
        default = list(default)
    return inspect.Parameter(
        _variable(key),
        inspect.Parameter.KEYWORD_ONLY,
        default=default if isinstance(default, (*SIMPLE, list)) else None if default is None else str(default),
        annotation=Annotated[_flag_type(field.annotation), option],
    )


def _flag_type(annotation: object) -> object:
    """The type a flag is read as; what is more than a plain value is read as text and left to the model."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        return Union[_flag_type(inner[0]), None]  # noqa: UP007 (the type is known at run time only)
    if origin in (tuple, dict):
        return list[str]
    if origin is Literal or annotation in SIMPLE:
        return annotation
    return str


def _nested(model: type[BaseModel], given: Mapping[str, object], prefix: str) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            values[name] = _nested(annotation, given, f"{prefix}{name}.")
        elif _variable(f"{prefix}{name}") in given:
            value = given[_variable(f"{prefix}{name}")]
            values[name] = _entries(f"{prefix}{name}", value, annotation) if get_origin(annotation) is dict and isinstance(value, list) else value
    return values


def dashed(key: str) -> str:
    """A key of a recipe as a flag or a command spells it."""
    return key.replace("_", "-")


def entry_flag(key: str) -> str:
    """The flag that gives one entry of a table: rules.short = "..." in a recipe is --rule short=..."""
    return key.removesuffix("s")


def _entries(key: str, given: list[str], annotation: object) -> dict[str, JsonValue]:
    """The entries of a table; a value is text, or JSON where the table takes any and it is some."""
    found: dict[str, JsonValue] = {}
    for each in given:
        name, sign, value = each.partition("=")
        if not sign:
            raise UsageError(f"--{entry_flag(key)} {each}: is no NAME=VALUE")
        if name.strip() in found:
            raise UsageError(f"--{entry_flag(key)} {name.strip()}: is there twice; give each a name of its own")
        found[name.strip()] = _json(value) if get_args(annotation)[1:] == (JsonValue,) else value.strip()
    return found


def _json(text: str) -> JsonValue:
    try:
        found: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()
    return found


def _variable(key: str) -> str:
    return key.replace(".", "__")
