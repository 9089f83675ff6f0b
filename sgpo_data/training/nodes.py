"""Several machines that train one model: the same command is given on each, over folders that all of them see at the same path."""

import socket
from collections.abc import Callable
from time import monotonic, sleep

from pydantic import BaseModel, ConfigDict, Field

from sgpo_data.errors import EngineError, UsageError
from sgpo_data.execution import Execution

PORTS = 65536
POLL_SECONDS = 0.5
PLACING_SECONDS = 300.0
"""What the first machine may take to put a trained model in its place."""


class Nodes(BaseModel):
    """Which of how many machines this one is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nodes: int = Field(1, ge=1, description="Machines that train together, with the same number of devices each; give the same command on each of them.")
    node_rank: int = Field(0, ge=0, description="Which of --nodes this machine is, from 0 on; 0 writes the model.")
    main_address: str | None = Field(None, description="With --nodes: HOST:PORT of machine 0, at any port that is free there, such as first:29500.")

    def check(self) -> None:
        """Raises UsageError if it is none of them, or if they cannot meet."""
        if self.nodes == 1:
            flags = [flag for flag, given in (("--node-rank", self.node_rank), ("--main-address", self.main_address)) if given]
            if flags:
                raise UsageError(f"{flags[0]}: is for several machines; give --nodes too")
            return
        if self.node_rank >= self.nodes:
            raise UsageError(f"--node-rank: {self.node_rank} is none of {self.nodes} machines; give 0 to {self.nodes - 1}")
        if self.main_address is None or not self._host:
            told = "is missing" if self.main_address is None else f"{self.main_address} has no port"
            raise UsageError(f"--main-address: {told}; give HOST:PORT of machine 0, such as first:29500")
        if not (self._port.isdecimal() and 0 < int(self._port) < PORTS):
            raise UsageError(f"--main-address: {self._port!r} is no port; give 1 to {PORTS - 1}")
        try:
            socket.getaddrinfo(self._host, int(self._port))
        except OSError as error:
            raise UsageError(f"--main-address: {self._host}: no such host; give that of machine 0") from error

    @property
    def launch(self) -> list[str]:
        """The flags of Accelerate's launcher."""
        if self.nodes == 1:
            return ["--num_machines", "1"]
        machine = ["--num_machines", str(self.nodes), "--machine_rank", str(self.node_rank), "--rdzv_backend", "static"]
        return [*machine, "--main_process_ip", self._host, "--main_process_port", self._port]

    @property
    def waiting(self) -> str:
        """What this machine says before it trains."""
        if self.node_rank:
            return f"train: machine {self.node_rank} looks for machine 0 at {self.main_address}"
        return f"train: machine 0 waits for {self.nodes - 1} more at {self.main_address}; give the same command on each, with a --node-rank of its own"

    @property
    def _host(self) -> str:
        return (self.main_address or "").rpartition(":")[0].strip("[]")

    @property
    def _port(self) -> str:
        return (self.main_address or "").rpartition(":")[2]


ONE = Nodes()


def check_devices(execution: Execution) -> None:
    """Raises UsageError if machines without a GPU would train whole copies: PyTorch shares such a training out by FSDP or ZeRO-3 alone."""
    import torch

    if execution.sharding == "none" and (execution.device == "cpu" or not torch.cuda.is_available()):
        raise UsageError("--nodes: this machine has no GPU, so its share has to be part of the weights; give --sharding fsdp")


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
