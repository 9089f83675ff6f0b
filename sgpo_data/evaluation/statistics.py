"""Intervals by a bootstrap, from the library that has them."""

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from sgpo_data.errors import MissingExtraError

CONFIDENCE = 0.95
RESAMPLES = 10_000


def interval_of_ratio(parts: Sequence[float], wholes: Sequence[float], *, extra: str = "ifeval") -> tuple[float | None, float | None]:
    """Of sum(parts) / sum(wholes), both drawn together; None for fewer than two of them.

    Raises MissingExtraError, naming the extra, if scipy is not installed.
    """
    if len(parts) < 2:
        return None, None
    numpy, stats = installed("numpy", extra), installed("scipy.stats", extra)
    found = stats.bootstrap(
        (numpy.asarray(parts, dtype=float), numpy.asarray(wholes, dtype=float)),
        lambda part, whole, axis=-1: part.sum(axis=axis) / whole.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=1_000,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=numpy.random.default_rng(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def installed(name: str, extra: str) -> ModuleType:
    """The module of this name.

    Raises MissingExtraError, naming the extra, if it is not there.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(extra, name.partition(".")[0].replace("_", "-")) from error
