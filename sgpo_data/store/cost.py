"""What making a dataset has cost, row by row and over all sessions, kills included."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

DONE = "done.json"


class PastCost(BaseModel):
    """What the sessions so far have cost, and where their model ran; of tokens, those of whole parts: what open parts have cost stands in their journals."""

    seconds: float = 0.0
    tokens: int = 0
    retokenized: int = 0
    accelerator: str | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a row has cost its model, and how it came out."""

    tokens: int = 0
    retokenized: bool = False
    """Whether a text of it becomes other tokens than were sampled when it is read again."""


@dataclass(slots=True)
class Costs:
    """What the rows of a part, or of several, have cost together."""

    tokens: int = 0
    retokenized: int = 0

    def add(self, cost: Cost) -> None:
        """Counts a further row."""
        self.tokens += cost.tokens
        self.retokenized += cost.retokenized


FREE = Cost()


def done_before(work: Path) -> PastCost:
    """What earlier sessions have cost that noted it in this folder."""
    try:
        return PastCost.model_validate_json((work / DONE).read_bytes())
    except (OSError, ValidationError):
        return PastCost()
