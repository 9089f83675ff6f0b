"""The objectives of training: what each reads, and what it needs besides."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Objective:
    """A way to train."""

    name: str
    table: str
    """What it reads."""
    answers: tuple[str, ...]
    """Columns of that table that hold an answer each."""
    learning_rate: float
    """Peak rate if none is given."""
    config: str
    """Name of its class in trl."""
    prefers: bool
    """Whether it prefers one answer to another under a reference policy: then it has one, and who wrote the answers matters."""


OBJECTIVES: Mapping[str, Objective] = {
    each.name: each
    for each in (
        Objective("dpo", "pairs", ("chosen", "rejected"), learning_rate=5e-7, config="DPOConfig", prefers=True),
        Objective("sft", "examples", ("completion",), learning_rate=2e-5, config="SFTConfig", prefers=False),
    )
}
