"""Keyword arguments as an editor and a type checker know them: names and types of the classes, which alone hold defaults and bounds."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal, TypedDict

from pydantic import JsonValue

from sgpo_data.sources.shapes import ShapeName


class SamplingOptions(TypedDict, total=False):
    """Of `Sampling`."""

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    seed: int


class SourceOptions(TypedDict, total=False):
    """Of `Source`."""

    config: str | None
    split: str
    revision: str | None
    shape: Literal["auto", ShapeName]
    columns: Sequence[str]
    strict: bool
    share: float | None
    limit: int | None
    offset: int
    shuffle_seed: int | None
    held_out: float
    take: Literal["train", "held_out"]
    near_duplicates: float | None
    decontaminate: Sequence[str]
    more: Sequence[str]


class ExecutionOptions(TypedDict, total=False):
    """Of `Execution`."""

    root: str | Path | PathLike[str]
    device: str
    batch_tokens: int
    tensor_parallel: int
    data_parallel: int
    ray: str | None
    ray_workers: int | None
    sharding: Literal["none", "fsdp", "zero3"]
    memory_share: float | None
    base_url: str | None
    key_variable: str
    request_seconds: float
    window: int
    part_rows: int
    stream: bool
    allow_secrets: bool
    report_to: Literal["none", "wandb", "trackio", "tensorboard"]
    project: str
    run_name: str | None
    status: str | Path | PathLike[str] | None
    progress: Literal["auto", "bar", "plain", "none"]


class RunOptions(ExecutionOptions, total=False):
    """Of `Execution` and `Guards`."""

    max_pair_gap: float
    min_pair_win_rate: float
    max_chosen_fall: float
    max_reference_fall: float
    max_answer_growth: float
    max_repeats_rise: float
    min_win_rate: float


class _ModelOptions(ExecutionOptions, total=False):
    template: Mapping[str, JsonValue]
    template_name: str | None
    engine: Literal["auto", "transformers", "vllm", "openai"]
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    quantization: Literal["fp8", "bitsandbytes"] | None
    context_tokens: int | None


class SeedOptions(_ModelOptions, total=False):
    """Of `Seed`."""

    samples: int
    sampling: SamplingOptions


class ImproveOptions(_ModelOptions, total=False):
    """Of `Improve`; a template is named, or a file."""

    role: Literal["refine", "improve"]
    improve_template: str
    refine_template: str
    sampling: SamplingOptions


class RewardOptions(TypedDict, total=False):
    """Of `Reward`."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    context_tokens: int | None


class ScorePplOptions(_ModelOptions, total=False):
    """Of `ScorePpl`."""

    reward: RewardOptions


class GateOptions(TypedDict, total=False):
    """Of `Gates`."""

    min_edit: float
    min_edited_words: int
    max_edit: float
    min_reference_edit: float
    min_length_ratio: float
    max_length_ratio: float
    max_repetition: float
    unique: bool


class SandwichOptions(TypedDict, total=False):
    """Of `Sandwich`."""

    low: float
    high: float
    min_gap: float
    undefined: Literal["keep", "drop", "tukey"]


class RatioOptions(TypedDict, total=False):
    """Of `Ratio`."""

    low: float
    high: float


class MarginOptions(TypedDict, total=False):
    """Of `Margin`."""

    low: float
    high: float | None


class PplOptions(TypedDict, total=False):
    """Of `Ppl`."""

    strategy: str
    k: float
    low: float
    high: float
    space: Literal["nll", "ppl"]
    side: Literal["both", "upper", "lower"]
    group_by: str | None
    min_rows: int
    min_tokens: int
    sandwich: SandwichOptions
    ratio: RatioOptions
    margin: MarginOptions


class FilterOptions(ExecutionOptions, total=False):
    """Of `Filter`."""

    gates: GateOptions
    rules: Mapping[str, str]
    ppl: PplOptions


class PairOptions(ExecutionOptions, total=False):
    """Of `Pair`."""

    kind: Literal["pairs", "examples"]
    replay: float
    per_prompt: int | None
    limit: int | None
    seed: int


class LintOptions(TypedDict, total=False):
    """Of `LintThresholds`."""

    min_rows: int
    max_length_effect: float
    max_longer: float
    max_near_identical: float
    min_edit: float
    max_prompt_leaks: float
    max_reference_leaks: float
    max_refusals: float
    max_truncated: float
    max_residue: float
    max_damaged: float
    max_other_script: float
    max_repeated: float
    max_empty: float
    max_less_likely: float
    min_distinct_2: float


class JudgeOptions(_ModelOptions, total=False):
    """Of `Judge`; the prompt is named, or a file."""

    prompt: str
    reading: Literal["label", "grade"]
    labels: Sequence[str]
    least_probability: float
    sampling: SamplingOptions


class PublishOptions(TypedDict, total=False):
    """Of `publish`, which holds their defaults."""

    run: str | None
    branch: str
    private: bool
    license: str | None
    root: str | PathLike[str] | None
    allow_secrets: bool
