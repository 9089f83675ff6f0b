"""Several `[[phases.source]]` of a phase as the first one with the others behind it."""

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from sgpo_data.errors import got, nearest
from sgpo_data.recipe.faults import Fault, found_in, number_faults
from sgpo_data.sources.options import Source, SourceReference, option_text

OWN = ("path", *SourceReference.known)
"""Keys that each of several sources has for itself; the others are of all of them."""


def joined_sources(table: Mapping[str, object]) -> tuple[dict[str, object], list[Fault]]:
    """The phase with one source, and what is wrong with the further ones; places are below the phase."""
    given = table.get("source")
    if not isinstance(given, list) or not given or not all(isinstance(each, dict) for each in given):
        return dict(table), []
    first, *others = given
    faults = [fault for number, other in enumerate(others, 2) for fault in _faults(other, first, number)]
    more = [] if faults else [_entry(other) for other in others]
    return {**table, "source": {**first, **({"more": [*first.get("more", []), *more]} if more else {})}}, faults


def _entry(source: Mapping[str, object]) -> str:
    options = {key: option_text(value) for key, value in source.items() if key != "path"}
    return SourceReference(str(source["path"]), options).moved(str)


def _faults(source: Mapping[str, object], first: Mapping[str, object], number: int) -> Iterator[Fault]:
    place = ("source", number)
    own: dict[str, object] = {}
    for key, value in source.items():
        if key in OWN:
            own[key] = value
        elif key not in Source.model_fields:
            yield Fault((*place, key), f"no such key{nearest(key, OWN)} {got(value)}")
        elif key not in first or first[key] != value:
            yield Fault((*place, key), f"is of all sources of the phase {got(value)}; write it in the first one")
    if not isinstance(own.get("path"), str):
        yield Fault((*place, "path"), "is missing" if "path" not in own else f"Input should be a valid string {got(own['path'])}")
    options = {key: value for key, value in own.items() if key not in ("path", "name")}
    numbers = list(number_faults(options, Source, place))
    yield from numbers
    try:
        Source.model_validate({key: value for key, value in options.items() if (*place, key) not in [fault.place for fault in numbers]})
    except ValidationError as error:
        yield from (Fault((*place, *fault.place), fault.message) for fault in found_in(error, Source))
