"""What a process with a copy of a model is told, and what it tells."""

from dataclasses import dataclass
from pathlib import Path

from sgpo_data.engines import GenerateRequest, Generation, Scored, ScoreRequest
from sgpo_data.engines.loading import WeightsLoading, Work
from sgpo_data.errors import SgpoError
from sgpo_data.execution import Execution


@dataclass(frozen=True, slots=True)
class Opening:
    """The first message to a copy: what it is to load."""

    loading: WeightsLoading
    folder: Path
    adapter: Path | None
    how: Execution


@dataclass(frozen=True, slots=True)
class Begin:
    """What the requests that follow ask for; they go on until End."""

    work: Work
    stream: int


@dataclass(frozen=True, slots=True)
class End:
    """There are no more requests in this stream."""


@dataclass(frozen=True, slots=True)
class Close:
    """Drop what is under way, free the model, and end."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded, on this accelerator."""

    accelerator: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """A result of a stream."""

    stream: int
    result: Generation | Scored


@dataclass(frozen=True, slots=True)
class Failed:
    """The copy cannot go on."""

    error: SgpoError


Request = Begin | GenerateRequest | ScoreRequest | End | Close
Reply = Ready | Result | Failed
