"""Make, inspect, publish and train on preference data that your own model generated."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sgpo_data.notebook.asking import lint, manifest, scan, sql
    from sgpo_data.notebook.loop import evaluate, publish, run
    from sgpo_data.notebook.stages import filter, improve, pair, score_ppl, seed
    from sgpo_data.store.dataset import Dataset

__all__ = ["Dataset", "evaluate", "filter", "improve", "lint", "manifest", "pair", "publish", "run", "scan", "score_ppl", "seed", "sql"]

_HOMES = {
    "sgpo_data.notebook.asking": ("lint", "manifest", "scan", "sql"),
    "sgpo_data.notebook.loop": ("evaluate", "publish", "run"),
    "sgpo_data.notebook.stages": ("filter", "improve", "pair", "score_ppl", "seed"),
    "sgpo_data.store.dataset": ("Dataset",),
}
"""Where each name comes from: importing them all would load DuckDB, Arrow and pydantic for `import sgpo_data` alone."""


def __getattr__(name: str) -> object:
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
