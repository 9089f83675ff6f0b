"""When a guard stops a run: the bounds, which are flags of `sgpo run`."""

from pydantic import BaseModel, ConfigDict, Field


class Guards(BaseModel):
    """When a training is not begun, and when its model is not gone on with."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_pair_gap: float = Field(
        0.4, description="Before dpo: nats by which the policy finds chosen less likely than rejected, per word that differs between them."
    )
    max_chosen_fall: float = Field(0.1, ge=0, description="After dpo: fall of the log-likelihood of chosen, in nats per token.")
    max_reference_fall: float = Field(0.1, ge=0, description="After any training: fall of the log-likelihood of held-out references, in nats per token.")
