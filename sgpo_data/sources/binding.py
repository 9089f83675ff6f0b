"""Which shape a raw row is of, and which columns its parts are read from, told by the names of its columns."""

import logging
from collections.abc import Iterable, Mapping

from sgpo_data.sources.odd_row import Place, Wording
from sgpo_data.sources.parts import Binding
from sgpo_data.sources.record import Record
from sgpo_data.sources.shapes import SHAPES

log = logging.getLogger(__name__)

COLUMN_SETS = 1000
"""Sets of columns whose binding is kept: rows of JSON can have any number of them."""


class Bindings:
    """Which columns rows are read from; all rows of a source are of one shape."""

    def __init__(self, reference: str, shape: str, given: Mapping[str, str]) -> None:
        self._reference = reference
        self._wanted = shape
        self._given = given
        self._bound: dict[tuple[str, ...], Binding] = {}
        self.shape: str | None = None
        """That of the first row that any fits."""

    def of(self, record: Record) -> Binding:
        """Raises OddRowError if the row is of no shape, or of another than those before."""
        if record.columns in self._bound:
            return self._bound[record.columns]
        binding = _bind(record, self._wanted, self._given)
        if self.shape is None:
            self.shape = binding.shape
            log.info("%s: %s", self._reference, binding)
        elif binding.shape != self.shape:
            columns = Wording(f"columns {', '.join(record.columns)} are", "columns are")
            raise Place(record.place).odd(f"{{}} of shape {binding.shape}, rows before of {self.shape}; set source.shape", columns)
        if len(self._bound) == COLUMN_SETS:
            self._bound.clear()
        self._bound[record.columns] = binding
        return binding


def _bind(record: Record, shape: str, given: Mapping[str, str]) -> Binding:
    """The shape of this row by its column names; `shape` is auto or one of them, `given` sets the columns of some parts.

    Raises OddRowError if none fits, if two fit and neither is decisive, or if a part could be read from two columns.
    """
    if record.fault is not None:
        raise record.fault
    place, columns = Place(record.place), Wording(", ".join(record.columns), "it has")
    absent = ", ".join(column for column in given.values() if column not in record.columns)
    if absent:
        raise place.odd("no column {}{}", Wording(absent, absent), Wording(f"; it has {columns.full}", ""))
    candidates = {name: each for name, each in SHAPES.items() if shape in ("auto", name)}
    fitting = [name for name, each in candidates.items() if each.fits(record.columns, given)]
    if not fitting:
        needs = "; ".join(f"{name} needs {each}" for name, each in candidates.items())
        fits = "no shape fits" if shape == "auto" else f"shape {shape} does not fit"
        raise place.odd(f"{fits} the columns {{}}", columns, advice=f": {needs}; name them with source.columns")
    if len(fitting) > 1 and not SHAPES[fitting[0]].decisive:
        raise place.odd(f"the columns {{}} fit the shapes {' and '.join(fitting)}; set source.shape", columns)
    return Binding(fitting[0], dict(_bound(fitting[0], record, given)))


def _bound(shape: str, record: Record, given: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    taken = set(given.values())
    for part, names in SHAPES[shape].parts.items():
        found = [given[part]] if part in given else [name for name in names if name in record.columns and name not in taken]
        if len(found) > 1:
            could = " or ".join(found)
            raise Place(record.place).odd(f"{part} could be column {{}}; say which with source.columns {part}=...", Wording(could, could))
        for column in found:
            yield part, column
