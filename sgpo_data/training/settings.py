"""TRL's configuration: what of it a recipe can set, what is wrong with what it sets, and what it comes to."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import ceil
from typing import TYPE_CHECKING, cast, get_type_hints

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError

from sgpo_data.errors import MissingExtraError, RecipeError
from sgpo_data.training.checkpoint import caps_attention
from sgpo_data.training.options import Train, TrainingLayout
from sgpo_data.training.task import CHECKPOINTS, TrainingTask

if TYPE_CHECKING:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.sft_config import SFTConfig

LOGGED_POINTS = 50
CHECKPOINTS_KEPT = 10
"""Checkpoints written over a whole training, about; a kill costs at most what lies between two."""

# TRL tells of an unknown loss only at the first step. huggingface/trl@v1.16.0, trl/trainer/dpo_trainer.py, _compute_loss
DPO_LOSSES = (
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
)  # fmt: skip

_NOTHING_CUT = "is fixed: nothing is truncated, what is longer than max_tokens is left out"
_NO_PUSH = "is fixed: nothing is pushed by training; use sgpo publish"
_NO_EVALUATION = "is fixed: nothing is held out in training"
_SAVED = "is fixed: a killed training goes on from its last checkpoint by itself"
_LAYOUT = "has a key of its own, beside trl"
_SHARDING = "is no matter of the recipe; use --sharding"
_TRACKER = "is no matter of the recipe; use --report_to, --project and --run_name"
_CURVES = "is fixed: the curves are in log.parquet"
_TEMPLATE = "is fixed: the tokenizer and the chat template are those of the model"
OURS = {
    "output_dir": "is not TRL's to say; use -o",
    "seed": "has a key of its own; use seed",
    "data_seed": "has a key of its own; use seed",
    "learning_rate": "has a key of its own; use learning_rate",
    "num_train_epochs": "has a key of its own; use epochs",
    "beta": "has a key of its own; use beta",
    "max_length": "has a key of its own; use max_tokens",
    "truncation_mode": _NOTHING_CUT,
    "per_device_train_batch_size": "follows from batch_rows and --batch-tokens; use those",
    "gradient_accumulation_steps": "follows from batch_rows and --batch-tokens; use those",
    "auto_find_batch_size": "follows from batch_rows and --batch-tokens; use those",
    "completion_only_loss": "is fixed: the loss is over the completion alone",
    "assistant_only_loss": "is fixed: the loss is over the completion alone",
    "use_cpu": "is no matter of the recipe; use --device",
    "disable_tqdm": "is no matter of the recipe; use --progress",
    "log_level": "is no matter of the recipe; use --progress",
    "trust_remote_code": "is fixed: no code of a model is run",
    "remove_unused_columns": "is fixed: only what is trained on is read",
    "chat_template_path": _TEMPLATE,
    "eos_token": _TEMPLATE,
    "pad_token": _TEMPLATE,
    **dict.fromkeys(("report_to", "run_name", "project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"), _TRACKER),
    **dict.fromkeys(TrainingLayout.model_fields, _LAYOUT),
    **dict.fromkeys(("deepspeed", "fsdp", "fsdp_config", "accelerator_config", "parallelism_config"), _SHARDING),
    **dict.fromkeys(("push_to_hub", "hub_model_id", "hub_token", "hub_strategy", "hub_private_repo", "hub_always_push", "hub_revision"), _NO_PUSH),
    **dict.fromkeys(("eval_strategy", "eval_steps", "eval_on_start", "do_eval", "do_predict", "load_best_model_at_end"), _NO_EVALUATION),
    **dict.fromkeys(("save_strategy", "save_steps", "save_total_limit", "save_only_model", "resume_from_checkpoint"), _SAVED),
    **dict.fromkeys(("logging_strategy", "logging_steps", "logging_first_step", "logging_nan_inf_filter"), _CURVES),
}
# Names of places and accounts, which decide nothing; so do hub_*, trackio_* and *_token.
_UNRECORDED = ("output_dir", "run_name", "project", "local_rank", "resume_from_checkpoint", "push_to_hub")


@dataclass(frozen=True)
class TrlFault:
    """A key of `trl` that makes no sense."""

    key: str
    """As in the recipe, below the training: trl.<name>."""
    message: str
    value: JsonValue

    def __str__(self) -> str:
        return f"{self.key}: {self.message} (got {self.value})"


def trl_faults(train: Train) -> list[TrlFault]:
    """Everything wrong with the keys that go to TRL as they are; TRL is imported only if there are such keys."""
    if not train.trl:
        return []
    config = _config_class(train)
    types = get_type_hints(config)
    taken = {field.name: types[field.name] for field in dataclasses.fields(config) if field.init}
    faults = {key: _fault(train, key, config.__name__, taken) for key in train.trl}
    found = [fault for fault in faults.values() if fault is not None]
    sound = {key: value for key, value in train.trl.items() if faults[key] is None}
    return [*found, *_refused(config, train.model_copy(update={"trl": sound}))]


def trl_config(task: TrainingTask, rows: int, longest: int, *, gpu: bool) -> "DPOConfig | SFTConfig":
    """TRL's configuration of a training on this many rows, the longest of this many tokens.

    Raises RecipeError if the rows of a step cannot be shared out evenly.
    """
    train = task.train
    device_rows = rows_at_once(train, longest, batch_tokens=task.execution.batch_tokens, devices=task.devices)
    steps = total_steps(train, rows)
    logging_steps = ceil(steps / LOGGED_POINTS)
    defaults: dict[str, object] = {
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "bf16": _computes_in_bf16(task, gpu=gpu),
    }
    ours: dict[str, object] = {
        "output_dir": str(task.work / CHECKPOINTS),
        "num_train_epochs": train.epochs,
        "learning_rate": train.learning_rate,
        "seed": train.seed,
        "max_length": task.longest,
        "model_init_kwargs": loading_keys(task),
        "gradient_checkpointing": gpu if train.gradient_checkpointing is None else train.gradient_checkpointing,
        "use_liger_kernel": train.use_liger_kernel,
        "per_device_train_batch_size": device_rows,
        "gradient_accumulation_steps": train.batch_rows // task.devices // device_rows,
        "use_cpu": not gpu,
        "dataloader_pin_memory": gpu,
        **_tracker(task),
        "disable_tqdm": True,
        "log_level": "error",
        "logging_strategy": "steps",
        "logging_steps": logging_steps,
        # A loss that is no number has to be seen.
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        # At a logged step, so that no curve loses what was summed since the last one.
        "save_steps": logging_steps * ceil(steps / logging_steps / CHECKPOINTS_KEPT),
        "save_total_limit": 1,
        **_objective(train),
    }
    return _config_class(train)(**{**defaults, **_given(train), **ours})  # type: ignore[arg-type]


def loading_keys(task: TrainingTask) -> dict[str, JsonValue]:
    """How the weights are loaded, those of the reference likewise."""
    attention = task.train.attn_implementation or ("eager" if caps_attention(task.start) else None)
    told = cast(dict[str, JsonValue], task.train.trl.get("model_init_kwargs") or {})
    return {**told, "dtype": task.train.dtype, **({"attn_implementation": attention} if attention else {})}


def _tracker(task: TrainingTask) -> dict[str, object]:
    """TensorBoard is told by a callback that knows its folder; a Space of trackio is made by its own environment variables alone."""
    how = task.execution
    return {
        "report_to": how.report_to if how.report_to in ("wandb", "trackio") else "none",
        "run_name": how.run_name or task.work.parent.name,
        "project": how.project,
        "trackio_static_space_id": False,
    }


def _computes_in_bf16(task: TrainingTask, *, gpu: bool) -> bool:
    """Sharded weights of 16 bits are kept in float32 for the optimizer, and computed with in bfloat16, by the same setting."""
    train, sharded = task.train, task.execution.sharding != "none"
    if sharded and train.dtype == "bfloat16":
        return train.optimizer_dtype == "float32"
    return gpu and task.dtype != "float32" and not train.trl.get("fp16")


def rows_at_once(train: Train, longest: int, *, batch_tokens: int, devices: int) -> int:
    """Rows that each device computes at once: what fits in batch_tokens and divides its share of a step.

    Raises RecipeError if the rows of a step cannot be shared out evenly.
    """
    share, rest = divmod(train.batch_rows, devices)
    if rest or not share:
        raise RecipeError(f"batch_rows: {train.batch_rows} cannot be shared by {devices} devices; give a multiple of {devices}")
    # The SFT loss of a pair is a mean over the tokens computed at once, so that more rows at once would weigh them differently.
    if train.settled_sft_weight or "sft" in cast(list[str], _given(train).get("loss_type", [])):
        return 1
    most = max(1, batch_tokens // (longest * len(train.needs.answers)))
    return max(rows for rows in range(1, share + 1) if share % rows == 0 and rows <= most)


def total_steps(train: Train, rows: int) -> int:
    """Optimizer steps of the whole training."""
    told = train.trl.get("max_steps")
    return told if isinstance(told, int) and told > 0 else ceil(train.epochs * ceil(rows / train.batch_rows))


def recorded(config: "DPOConfig | SFTConfig") -> JsonValue:
    """Every setting that decides something, as JSON."""
    whole: dict[str, object] = config.to_dict()  # type: ignore[no-untyped-call]
    kept = {name: value for name, value in whole.items() if name not in _UNRECORDED and not name.startswith(("hub_", "trackio_"))}
    found: JsonValue = json.loads(json.dumps({name: value for name, value in kept.items() if not name.endswith("_token")}, default=str))
    return found


def _objective(train: Train) -> dict[str, object]:
    if not train.needs.compares:
        return {"completion_only_loss": True}
    # TRL switches off every dropout of the model by default, that of the adapter included.
    whole: dict[str, object] = {"beta": train.beta, "disable_dropout": train.lora.dropout == 0, "precompute_ref_log_probs": train.precompute_ref_log_probs}
    return {**whole, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, train.settled_sft_weight]} if train.settled_sft_weight else whole


def _given(train: Train) -> dict[str, JsonValue]:
    """The keys as TRL takes them: one loss is a list of one."""
    loss = train.trl.get("loss_type")
    return {**train.trl, "loss_type": [loss]} if isinstance(loss, str) and train.needs.compares else dict(train.trl)


def _config_class(train: Train) -> "type[DPOConfig] | type[SFTConfig]":
    try:
        from trl.trainer.dpo_config import DPOConfig
        from trl.trainer.sft_config import SFTConfig
    except ImportError as error:
        raise MissingExtraError("models", "trl") from error
    found: type[DPOConfig] | type[SFTConfig] = {each.__name__: each for each in (DPOConfig, SFTConfig)}[train.needs.config]
    return found


def _fault(train: Train, key: str, config: str, types: Mapping[str, object]) -> TrlFault | None:
    value = train.trl[key]
    if key in OURS:
        return TrlFault(f"trl.{key}", OURS[key], value)
    if key not in types:
        return TrlFault(f"trl.{key}", f"no key of trl.{config}{_nearest(key, types)}", value)
    if key in ("loss_type", "loss_weights") and train.needs.compares and train.settled_sft_weight:
        return TrlFault(f"trl.{key}", "follows from sft_weight; give one of the two", value)
    if key == "model_init_kwargs" and isinstance(value, dict) and (fault := _loading_fault(value)):
        return TrlFault(f"trl.{key}", fault, value)
    taken = _given(train)[key]
    adapter: TypeAdapter[object] = TypeAdapter(cast(type[object], types[key]), config=ConfigDict(arbitrary_types_allowed=True))
    try:
        adapter.validate_python(taken, strict=True)
    except ValidationError as error:
        return TrlFault(f"trl.{key}", error.errors()[0]["msg"], value)
    if key == "loss_type" and train.needs.compares:
        wrong = next((loss for loss in cast(list[str], taken) if loss not in DPO_LOSSES), None)
        return TrlFault(f"trl.{key}", f"no loss of trl.DPOTrainer; it has {', '.join(DPO_LOSSES)}", wrong) if wrong else None
    return None


def _loading_fault(keys: Mapping[str, JsonValue]) -> str | None:
    """What is wrong with these keys of loading."""
    if {"trust_remote_code", "revision"} & keys.keys():
        return "cannot set trust_remote_code or revision: no code of a model is run, and the model is the one given"
    if {"dtype", "torch_dtype", "attn_implementation"} & keys.keys():
        return "cannot set dtype or attn_implementation, which have keys of their own, beside trl"
    return None


def _nearest(key: str, names: Mapping[str, object]) -> str:
    """The key that was meant, TRL's or our own, as the end of a sentence; empty if none is near."""
    near = next(iter(get_close_matches(key, [*names, *Train.model_fields], n=1)), None)
    if near is None:
        return ""
    if near in OURS:
        return f"; the nearest is trl.{near}, which {OURS[near]}"
    return f"; the nearest is trl.{near}" if near in names else f"; the nearest is {near}, a key beside trl"


def _refused(config: "type[DPOConfig] | type[SFTConfig]", train: Train) -> list[TrlFault]:
    """What TRL itself says of the keys together."""
    try:
        config(output_dir="unused", use_cpu=True, **_given(train))  # type: ignore[arg-type]
    except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError, ImportError) as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return [TrlFault("trl", f"trl.{config.__name__} refuses this: {said}", cast(JsonValue, train.trl))]
    return []
