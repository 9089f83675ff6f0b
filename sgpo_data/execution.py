"""How a stage is run: none of it decides the rows, none of it is in a fingerprint."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ROOT = Path("runs")


class Execution(BaseModel):
    """The "how" flags, the same for every stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path = Field(ROOT, description="Folder that holds what was made.")
    device: str = Field("auto", description="Where models run: auto, cpu, cuda or cuda:N.")
    batch_tokens: int = Field(16384, ge=1, description="Tokens computed at once, padding included; lower it when memory runs out.")
    window: int = Field(256, ge=1, description="Rows in flight: the most that a kill can cost.")
    part_rows: int = Field(2048, ge=1, description="Rows of each Parquet part of a row-wise stage; frozen once a dataset is begun.")
    progress: Literal["auto", "bar", "plain", "none"] = Field("auto", description="A bar on a terminal, plain lines elsewhere.")

    @property
    def store(self) -> Path:
        """Where what is made without a place of its own goes, named by its fingerprint."""
        return self.root / "store"
