"""When a guard stops a run: the bounds, which are flags of `sgpo run` and of `sgpo health`."""

from pydantic import BaseModel, ConfigDict, Field


class Guards(BaseModel):
    """When a training is not begun, and when its model is not gone on with."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_pair_gap: float = Field(
        0.4, description="Before dpo: nats by which the policy finds chosen less likely than rejected, per word that differs between them."
    )
    min_pair_win_rate: float = Field(0.55, ge=0, le=1, description="Before dpo: share of pairs whose chosen the reward model or judge of the phase prefers.")
    max_chosen_fall: float = Field(0.1, ge=0, description="After dpo: fall of the log-likelihood of chosen, in nats per token.")
    max_reference_fall: float = Field(0.1, ge=0, description="After any training: fall of the log-likelihood of held-out references, in nats per token.")
    max_answer_growth: float = Field(0.25, gt=0, description="After dpo: growth of the mean length of answers to held-out prompts.")
    max_repeats_rise: float = Field(0.05, ge=0, le=1, description="After any training: rise of the share of 4-grams that repeat in such answers.")
    min_win_rate: float = Field(
        0.4,
        ge=0,
        le=1,
        description="After any training: share of held-out prompts whose answer the reward model or judge of the phase prefers to that before.",
    )
