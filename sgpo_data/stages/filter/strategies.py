"""The settings of filter's strategies: which likelihoods of improved answers are kept."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from sgpo_data.schema import schema

STRATEGIES = ("tukey", "quantile", "sandwich", "ratio", "margin", "none")
"""Each one file of `filters/`."""


def _is_chain(value: str) -> str:
    chain = value.split("+")
    unknown = [name for name in chain if name not in STRATEGIES]
    if unknown:
        raise ValueError(f"no strategy {unknown[0]}; there are {', '.join(STRATEGIES)}, and chains of them such as tukey+ratio")
    if len(set(chain)) < len(chain) or (len(chain) > 1 and "none" in chain):
        raise ValueError("in a chain each strategy stands once, and none stands alone")
    return value


class _Bounds(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float
    high: float | None

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.high is not None and self.low >= self.high:
            raise ValueError(f"low = {self.low} is not below high = {self.high}")
        return self


class Sandwich(_Bounds):
    """How far a rewrite has gone from the response to the reference, in mean nll."""

    low: float = Field(0.05, description="sandwich: least way gone, as a share of the way from response to reference.")
    high: float = Field(0.9, description="sandwich: greatest way gone, as a share of that way.")
    min_gap: float = Field(0.05, gt=0, description="sandwich: least nats per token between response and reference for there to be a way.")
    undefined: Literal["keep", "drop", "tukey"] = Field(
        "tukey", description="sandwich: what holds without a reference or a way to it: keep, drop, or the fences of tukey among such rows."
    )


class Ratio(_Bounds):
    """How much likelier the draft makes the rewrite."""

    low: float = Field(0.3, ge=0, description="ratio: least perplexity of the rewrite given the draft, as a share of that without; below, it is copied.")
    high: float = Field(0.98, gt=0, description="ratio: greatest such share; above, the draft was of no use.")


class Margin(_Bounds):
    """How much better the rewrite is to a reward model, or to a judge."""

    low: float = Field(0.0, description="margin: least reward of the rewrite less that of the response; by verdicts it is from -1 to 1.")
    high: float | None = Field(None, description="margin: greatest difference; none if not given.")


class Ppl(BaseModel):
    """Which likelihoods of improved answers are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    strategy: Annotated[str, AfterValidator(_is_chain)] = Field(
        "tukey",
        description="tukey: within Q1 - k IQR and Q3 + k IQR; quantile: between the quantiles low and high; sandwich: between response and reference; "
        "ratio: by what the draft adds; margin: by reward; none: any. A chain such as quantile+ratio applies each to what those before it keep.",
    )
    k: float = Field(1.5, gt=0, description="tukey: how many interquartile ranges a row may lie beyond a quartile.")
    low: float = Field(0.01, ge=0, le=1, description="quantile: the lowest quantile that is kept.")
    high: float = Field(0.95, ge=0, le=1, description="quantile: the highest quantile that is kept.")
    space: Literal["nll", "ppl"] = Field("nll", description="tukey, quantile: what is compared, mean nats per token or their exponential, the perplexity.")
    side: Literal["both", "upper", "lower"] = Field("both", description="tukey, quantile: which of the two fences drop rows.")
    group_by: str | None = Field(None, description="tukey, quantile: a column of scored; each of its values, null too, gets fences of its own.")
    min_rows: int = Field(40, ge=1, description="tukey, quantile: a group with fewer rows that fail no rule before loses none.")
    min_tokens: int = Field(8, ge=0, description="too_short: fewest tokens of an improved answer, the end of turn included.")
    sandwich: Sandwich = Field(default_factory=Sandwich, description="Bounds of the strategy sandwich.")
    ratio: Ratio = Field(default_factory=Ratio, description="Bounds of the strategy ratio.")
    margin: Margin = Field(default_factory=Margin, description="Bounds of the strategy margin.")

    @property
    def chain(self) -> tuple[str, ...]:
        """The strategies, in their order."""
        return tuple(self.strategy.split("+"))

    @property
    def rules(self) -> dict[str, str]:
        """The name of the rule that each strategy drops by: ppl for the first of tukey and quantile, else its own name."""
        fences = [name for name in self.chain if name in ("tukey", "quantile")]
        return {name: "ppl" if name in fences[:1] else name for name in self.chain if name != "none"}

    @field_validator("group_by")
    @classmethod
    def _is_column(cls, value: str | None) -> str | None:
        if value is not None and value not in schema("scored").column_names:
            raise ValueError(f"no column {value} in scored; the columns are {', '.join(schema('scored').column_names)}")
        return value

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} is not below high = {self.high}")
        return self
