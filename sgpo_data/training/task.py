"""What a training process is told, and what it tells: it may be another process than the one that asks."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue

from sgpo_data.execution import Execution
from sgpo_data.training.options import Train

CHECKPOINTS = "checkpoints"
MODEL = "model"
ADAPTER = "adapter"
TOLD, RESULT = "task.json", "trained.json"
"""What a process that trains is told, and what the first of them tells."""


class TrainingTask(BaseModel):
    """A training with every file at hand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: Train
    files: tuple[Path, ...]
    """Parquet parts of pairs or examples, in the order of their rows."""
    start: Path
    start_identity: str
    reference: Path | None
    """Of dpo; None if it is the start and an adapter is trained, which can be switched off."""
    dtype: str
    """Of the weights that are written."""
    longest: int
    """Tokens of prompt and answer together, at most."""
    work: Path
    """Folder for checkpoints, the model and its curves."""
    seconds_before: float
    """Wall time of earlier sessions."""
    devices: int
    """Processes that train together."""
    execution: Execution


class TrainingResult(BaseModel):
    """What came of it, besides the files in the work folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    left_out: int
    unusable: dict[str, int] = {}
    """Rows that could not be trained on, by reason."""
    tokens: int
    """Read in training, padding excluded; of a pair, both answers with the prompt."""
    steps: int
    config: JsonValue
    """TRL's configuration, without paths."""
    metrics: dict[str, float]
    accelerator: str | None
