"""What makes a dataset or a model, known before anything is made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from sgpo_data.engines.loading import Loading
from sgpo_data.execution import Execution
from sgpo_data.references.model import Model
from sgpo_data.running.engines import Engines
from sgpo_data.store.input import JobInput
from sgpo_data.store.manifest import Identity


class Job(Protocol):
    """One dataset or one model to be made."""

    @property
    def identity(self) -> Identity:
        """All that decides what it makes."""
        ...

    @property
    def name(self) -> str:
        """Name of its folder in the store."""
        ...

    @property
    def writes(self) -> str:
        """The table it makes, or `model`."""
        ...

    @property
    def inputs(self) -> tuple[JobInput, ...]:
        """The datasets it reads."""
        ...

    @property
    def models(self) -> Sequence[tuple[str, Model]]:
        """The models it takes, each with the flag that names it."""
        ...

    @property
    def loadings(self) -> tuple[Loading, ...]:
        """How each model that it asks for answers or likelihoods is loaded."""
        ...

    @property
    def options(self) -> BaseModel:
        """What its flags say, with nothing left to be guessed."""
        ...

    @property
    def inlined(self) -> bool:
        """Whether it has no command of its own, since the one that takes what it makes does its work too."""
        ...

    @property
    def costly(self) -> bool:
        """Whether it runs a model."""
        ...

    def rows_made(self, rows: int) -> int | None:
        """Rows it makes of so many in its inputs; None if that depends on what is in them."""
        ...

    def make(self, folder: Path, execution: Execution, engines: Engines) -> object:
        """What it makes, in this folder, now as far as it is not made already."""
        ...
