"""Several machines that train one model: the same command is given on each, over folders that all of them see at the same path."""

from collections.abc import Callable
from time import monotonic, sleep

from pydantic import BaseModel, ConfigDict, Field

from sgpo_data.errors import EngineError, UsageError

POLL_SECONDS = 0.5
PLACING_SECONDS = 300.0
"""What the first machine may take to put a trained model in its place."""


class Nodes(BaseModel):
    """Which of how many machines this one is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nodes: int = Field(1, ge=1, description="Machines that train together, with as many devices each: the same command on each, over one folder that all see.")
    node_rank: int = Field(0, ge=0, description="Which of them this one is, from 0 on; 0 writes the model.")
    main_address: str | None = Field(None, description="HOST:PORT at which machine 0 waits for the others; any port that is free there.")

    def check(self) -> None:
        """Raises UsageError if it is none of them, or if they cannot meet."""
        if self.node_rank >= self.nodes:
            raise UsageError(f"--node-rank {self.node_rank}: there are {self.nodes} machines, so the last is {self.nodes - 1}")
        if self.nodes > 1 and not self._port.isdecimal():
            told = "is missing" if self.main_address is None else f"{self.main_address} has no port"
            raise UsageError(f"--main-address: {told}; give HOST:PORT of machine 0, where the {self.nodes} machines meet")

    @property
    def launch(self) -> list[str]:
        """The flags of Accelerate's launcher."""
        if self.nodes == 1:
            return ["--num_machines", "1"]
        host = (self.main_address or "").rpartition(":")[0].strip("[]")
        machine = ["--num_machines", str(self.nodes), "--machine_rank", str(self.node_rank), "--rdzv_backend", "static"]
        return [*machine, "--main_process_ip", host, "--main_process_port", self._port]

    @property
    def _port(self) -> str:
        return (self.main_address or "").rpartition(":")[2]


ONE = Nodes()


def wait_for_model(made: Callable[[], bool]) -> None:
    """Until machine 0 has put the model in its place.

    Raises EngineError if it takes too long.
    """
    deadline = monotonic() + PLACING_SECONDS
    while not made():
        if monotonic() > deadline:
            raise EngineError(
                "train: trained, but machine 0 has not put the model in its place; its own lines say why, and the same command goes on from there"
            )
        sleep(POLL_SECONDS)
