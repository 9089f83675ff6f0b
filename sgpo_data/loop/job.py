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
from sgpo_data.training.job import TrainJob


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
        """The models it takes, each with the flag that names it, which is empty where the command takes it without one."""
        ...

    @property
    def loadings(self) -> tuple[Loading, ...]:
        """How each model that it samples from or scores with is loaded."""
        ...

    @property
    def options(self) -> BaseModel:
        """The values of its flags, every default resolved."""
        ...

    @property
    def inlined(self) -> bool:
        """Whether it has no command of its own, because the command of the job that follows does its work too."""
        ...

    @property
    def costly(self) -> bool:
        """Whether it runs a model."""
        ...

    @property
    def training(self) -> TrainJob | None:
        """The training that it is, None if it makes a dataset."""
        ...

    def check(self, execution: Execution) -> None:
        """Raises what making it would raise of its models, as far as it shows without loading a weight or asking a server.

        A model that is still to be trained has tokenizer, template and shapes of the one that it starts from.
        """
        ...

    def rows_made(self, rows: int) -> int | None:
        """How many rows it makes from this many input rows; None if that depends on what they hold."""
        ...

    def make(self, folder: Path, execution: Execution, engines: Engines) -> object:
        """Makes the dataset or model in this folder, or the part of it that is still missing."""
        ...
