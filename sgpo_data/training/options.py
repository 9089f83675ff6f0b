"""How a model is trained: the options, which decide its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from sgpo_data.engines import ChatTemplate
from sgpo_data.names import GIVEN


@dataclass(frozen=True)
class Objective:
    """What a way to train needs."""

    title: str
    """As a model card has it."""
    reads: str
    """The table it is trained on."""
    answers: tuple[str, ...]
    """Columns of that table that hold an answer each."""
    config: str
    """The class of TRL that holds its settings."""
    learning_rate: float
    """Peak, if none is given."""
    compares: bool
    """Whether it is held against a reference policy."""


OBJECTIVES: Mapping[str, Objective] = {
    "dpo": Objective("DPO on preference pairs", "pairs", ("chosen", "rejected"), "DPOConfig", learning_rate=5e-7, compares=True),
    "sft": Objective("SFT on examples", "examples", ("completion",), "SFTConfig", learning_rate=2e-5, compares=False),
}


class Lora(BaseModel):
    """Low-rank adaptation in place of full training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(0, ge=0, description="Rank of the adapter; 0 trains all weights.")
    alpha: int = Field(16, ge=1, description="Scale of the adapter.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout inside the adapter.")
    target_modules: str = Field("all-linear", description="Layers that get an adapter: all-linear, or names with commas between.")


class TrainingLayout(BaseModel):
    """How a training lies in memory, and by which kernels: its weights are the same up to rounding, so none of it is in a fingerprint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gradient_checkpointing: bool | None = Field(
        None, description="Compute activations again in the backward pass in place of keeping them; on a GPU, and not on a CPU, if not given."
    )
    attn_implementation: str | None = Field(
        None, description="Attention kernel as transformers names it: eager, sdpa, flash_attention_2; the model's own choice if not given."
    )
    use_liger_kernel: bool = Field(False, description="Kernels of Liger for the layers; liger-kernel has to be installed.")
    precompute_ref_log_probs: bool = Field(
        False, description="dpo: ask the reference about all pairs before the first step, so that no copy of it is held beside the weights that train."
    )


class Train(TrainingLayout, ChatTemplate):
    """Train the model that comes next: on pairs (dpo) or on examples (sft), by TRL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Literal["dpo", "sft"] = Field("dpo", description="dpo reads pairs, sft reads examples.")
    reference: str = Field(
        "start", description="dpo: the reference policy: start (the model training starts from), origin (the one the lineage began with), or a model."
    )
    beta: float = Field(0.1, strict=True, allow_inf_nan=False, gt=0, description="dpo: weight of the reference policy (arXiv 2305.18290, eq. 7).")
    sft_weight: float | None = Field(
        None,
        strict=True,
        allow_inf_nan=False,
        ge=0,
        description="dpo: weight of an SFT loss on chosen beside that of dpo. If not given 1, since plain DPO (0) makes both answers of a pair that differs in "
        "few words less likely; 0 on given preferences and beside a loss_type of trl.",
    )
    learning_rate: float | None = Field(
        None, strict=True, allow_inf_nan=False, gt=0, description="Peak learning rate; 5e-7 for dpo and 2e-5 for sft if not given."
    )
    epochs: float = Field(1.0, strict=True, allow_inf_nan=False, gt=0, description="Passes over the data.")
    batch_rows: int = Field(32, ge=1, description="Pairs or examples of each optimizer step, over all devices.")
    max_tokens: int = Field(1024, ge=8, description="Longest prompt and answer together; longer ones are left out, and counted.")
    seed: int = Field(0, ge=0, description="Seed of order and dropout.")
    lora: Lora = Field(default_factory=Lora)
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Type of the weights in training, and of the reference; auto is that of the checkpoint, and float32 where that is another."
    )
    optimizer_dtype: Literal["float32", "weights"] = Field(
        "float32",
        description="float32: the optimizer's states, and a copy of trained weights that are bfloat16; weights: all in the type of the weights, which takes "
        "half the memory and loses steps that are small against a weight.",
    )
    allow_policies: tuple[str, ...] = Field(
        (), description="dpo: identities whose pairs are taken besides those of the model itself; given for given preferences."
    )
    trl: dict[str, JsonValue] = Field(default_factory=dict, description="Further keys of trl.DPOConfig or trl.SFTConfig, as key=value.")

    @property
    def settled_sft_weight(self) -> float:
        """The weight of the SFT loss, be it given or not."""
        if self.sft_weight is not None:
            return self.sft_weight
        return 0.0 if not self.needs.compares or GIVEN in self.allow_policies or "loss_type" in self.trl else 1.0

    @property
    def needs(self) -> Objective:
        """What its objective needs."""
        return OBJECTIVES[self.objective]
