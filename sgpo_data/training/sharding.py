"""Weights, gradients and optimizer shared out over devices, by Accelerate's FSDP2 or DeepSpeed's ZeRO-3."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

from sgpo_data.errors import EngineError, MissingExtraError, RecipeError
from sgpo_data.execution import Execution
from sgpo_data.training.options import Train

if TYPE_CHECKING:
    from accelerate.state import AcceleratorState
    from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin


@contextmanager
def launch_config(sharding: str) -> Iterator[Path]:
    """Accelerate's configuration of this sharding, as a file while it is needed."""
    with resources.as_file(resources.files("sgpo_data.training").joinpath(f"{sharding}.yaml")) as path:
        yield path


def check_sharding(execution: Execution, train: Train) -> None:
    """Nothing if such a training can be shared out so.

    Raises MissingExtraError without DeepSpeed, EngineError without the compiler it needs, RecipeError for types that it does not keep.
    """
    if execution.sharding != "zero3":
        return
    if find_spec("deepspeed") is None:
        raise MissingExtraError("deepspeed", "deepspeed", "give --sharding fsdp, which does without")
    # DeepSpeed compiles what its processes talk by on a CPU, with the compiler that PyTorch names.
    compiler, *_ = (os.environ.get("CXX") or "c++").split()
    if which(compiler) is None and not _on_gpu(execution.device):
        raise EngineError(f"--sharding zero3: on a CPU DeepSpeed needs a C++ compiler, and there is no {compiler}; install g++, or give --sharding fsdp")
    if train.dtype == "bfloat16" and train.optimizer_dtype == "weights":
        raise RecipeError("optimizer_dtype: weights cannot be with --sharding zero3, whose optimizer is float32; leave it out, or give --sharding fsdp")


def _on_gpu(device: str) -> bool:
    import torch

    return device != "cpu" and torch.cuda.is_available()


def refuse_whole_copies(sharding: str, kind: str) -> None:
    """Nothing if Accelerate trains in the way that was asked for; it falls back on a whole copy in each process without a word.

    Raises EngineError.
    """
    wanted = {"fsdp": "FSDP", "zero3": "DEEPSPEED"}.get(sharding)
    if wanted is not None and kind != wanted:
        raise EngineError(f"--sharding {sharding}: Accelerate would train by {kind}, with all weights in each process; leave the flag out to have that")


def share_on_cpus() -> None:
    """Lets Accelerate shard on CPUs as it does on GPUs: its state knows sharding only for several GPUs, and would train whole copies without a word.

    huggingface/accelerate@v1.15.0, src/accelerate/state.py, AcceleratorState.__init__
    """
    from accelerate import PartialState
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    begin = AcceleratorState.__init__

    def begun(
        self: AcceleratorState,
        *given: object,
        fsdp_plugin: "FullyShardedDataParallelPlugin | None" = None,
        deepspeed_plugin: "DeepSpeedPlugin | None" = None,
        **named: object,
    ) -> None:
        begin(self, *given, fsdp_plugin=fsdp_plugin, deepspeed_plugin=deepspeed_plugin, **named)
        if self.distributed_type != DistributedType.MULTI_CPU or (fsdp_plugin is None and deepspeed_plugin is None):
            return
        if deepspeed_plugin is not None:
            _begin_deepspeed(self, deepspeed_plugin)
            self.distributed_type = DistributedType.DEEPSPEED
        elif fsdp_plugin is not None:
            if self.mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self.mixed_precision)
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
        PartialState._shared_state["distributed_type"] = self.distributed_type

    AcceleratorState.__init__ = begun


def _begin_deepspeed(state: "AcceleratorState", plugin: "DeepSpeedPlugin") -> None:
    from deepspeed import comm

    plugin.set_mixed_precision(state.mixed_precision)
    plugin.select(_from_accelerator_state=True)
    state.deepspeed_plugins = plugin
    comm.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)


def forget_zero3() -> None:
    """From here on a model is loaded whole again, by each process that loads one."""
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]
