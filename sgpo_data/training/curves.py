"""The curves of a training: what was logged at each step, as its folder keeps it."""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pyarrow as pa
import pyarrow.parquet as pq

from sgpo_data.errors import ModelError

LOG = "log.parquet"
END = 0.1
"""Share of the logged steps whose mean is taken for where a curve ends: a single batch tells little."""


@dataclass(frozen=True)
class Curve:
    """One logged number, in the order of its steps."""

    name: str
    steps: tuple[int, ...]
    epochs: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def end(self) -> float:
        """Mean over the last tenth of its steps, of one at least."""
        return fmean(self.values[-max(1, round(END * len(self.values))) :])

    def mean(self, after: float, until: float) -> float | None:
        """Mean over the steps with after < epoch <= until, None if none was logged there."""
        found = [value for epoch, value in zip(self.epochs, self.values, strict=True) if after < epoch <= until]
        return fmean(found) if found else None


def curves(folder: Path) -> dict[str, Curve]:
    """The curves of the model in this folder by name; none if it keeps none.

    Raises ModelError if they cannot be read.
    """
    path = folder / LOG
    if not path.is_file():
        return {}
    try:
        columns = pq.read_table(path, columns=["step", "epoch", "name", "value"]).sort_by("step").to_pydict()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); copy it back, or train again") from error
    found: dict[str, list[tuple[int, float, float]]] = {}
    for step, epoch, name, value in zip(*columns.values(), strict=True):
        found.setdefault(name, []).append((step, epoch, value))
    return {name: _curve(name, points) for name, points in sorted(found.items())}


def _curve(name: str, points: list[tuple[int, float, float]]) -> Curve:
    steps, epochs, values = zip(*points, strict=True)
    return Curve(name, steps, epochs, values)
