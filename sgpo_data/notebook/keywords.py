"""Keyword arguments of a function and the classes they are the fields of: checked, told apart, and shown by a help."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sgpo_data.errors import UsageError, got, nearest

M = TypeVar("M", bound=BaseModel)
F = TypeVar("F", bound=Callable[..., Any])

SCALARS = (str, int, float, bool, type(None))


def validated(model: type[M], given: Mapping[str, object], *, place: str) -> M:
    """The object of these values.

    Raises UsageError naming each with the value found.
    """
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')} {got(fault['input'])}" for fault in error.errors()]
        raise UsageError(f"{place}: {'; '.join(faults)}") from error


def told_apart(given: Mapping[str, object], *models: type[BaseModel], place: str) -> list[dict[str, object]]:
    """The arguments of each class.

    Raises UsageError at one that none has.
    """
    known = [name for model in models for name in model.model_fields]
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        raise UsageError(f"{place}: takes no {unknown}{nearest(unknown, known)}")
    return [{name: value for name, value in given.items() if name in model.model_fields} for model in models]


def takes(*models: type[BaseModel]) -> Callable[[F], F]:
    """Gives a function that takes `**options` the signature with each field and its default, and their descriptions; notebooks show both."""

    def described(function: F) -> F:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        fields = {name: field for model in models for name, field in model.model_fields.items() if name not in signature.parameters}
        keyword = inspect.Parameter.KEYWORD_ONLY
        options = [inspect.Parameter(name, keyword, default=_default(field.get_default(call_default_factory=True))) for name, field in fields.items()]
        function.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        lines = [f"    {name}: {field.description or (field.annotation.__doc__ or '').splitlines()[0]}" for name, field in fields.items()]
        function.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Options, as of the command:", *lines])
        return function

    return described


def _default(value: object) -> object:
    """As it is written: a table of settings as a dict, a template by its name."""
    if isinstance(value, BaseModel):
        return {name: _default(getattr(value, name)) for name in type(value).model_fields}
    return value if isinstance(value, (*SCALARS, tuple, dict)) else str(value)
