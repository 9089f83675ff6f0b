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
    tensor_parallel: int = Field(1, ge=1, description="GPUs that share one copy of the model; for engine vllm.")
    data_parallel: int = Field(1, ge=1, description="Copies of the model, each in a process and on GPUs of its own; they share the window.")
    ray: str | None = Field(
        None, description="Ray cluster on which seed, improve and score-ppl are made: auto, HOST:PORT, ray://HOST:PORT, or local for one on this machine."
    )
    ray_workers: int | None = Field(
        None, ge=1, description="Workers on the cluster, each with a model and a window of its own; as many as its GPUs have room for if not given, or CPUs."
    )
    sharding: Literal["none", "fsdp", "zero3"] = Field(
        "none",
        description="How training shares weights, gradients and optimizer out over its devices: fsdp (FSDP2), zero3 (DeepSpeed), or a copy on each; on a CPU "
        "over --data-parallel processes.",
    )
    memory_share: float | None = Field(None, gt=0, le=1, description="Part of the device's memory that engine vllm takes; its own choice if not given.")
    base_url: str | None = Field(None, description="Address of the server of an openai: model, up to /v1; that of OPENAI_BASE_URL if not given.")
    key_variable: str = Field("OPENAI_API_KEY", description="Environment variable that holds the key of that server.")
    request_seconds: float = Field(600, gt=0, description="Longest wait for one answer of that server, before it is asked again.")
    window: int = Field(256, ge=1, description="Rows in flight: the most that a kill can cost.")
    part_rows: int = Field(2048, ge=1, description="Rows of each Parquet part of a row-wise stage; frozen once a dataset is begun.")
    stream: bool = Field(False, description="Read an input on the Hub or in a bucket where it lies, and keep nothing of it here.")
    allow_secrets: bool = Field(False, description="Send to the Hub texts too that look like a password or a key.")
    report_to: Literal["none", "wandb", "trackio", "tensorboard"] = Field(
        "none", description="Experiment tracker that is told the curves of trainings, and health and evaluation of a run; its key is in the environment."
    )
    project: str = Field("sgpo", min_length=1, description="What the tracker calls the project.")
    run_name: str | None = Field(None, min_length=1, description="What the tracker calls the run; the recipe's name or the model's folder if not given.")
    status: Path | None = Field(
        None, description="File that tells monitors how far the work is, as JSON; sgpo run keeps status.json in the folder of the run if not given."
    )
    progress: Literal["auto", "bar", "plain", "none"] = Field("auto", description="A bar on a terminal, plain lines elsewhere.")

    @property
    def store(self) -> Path:
        """Where what is made without a place of its own goes, named by its fingerprint."""
        return self.root / "store"

    @property
    def frames(self) -> Path:
        """Where tables that came from memory lie, as files named by their content."""
        return self.root / "frames"
