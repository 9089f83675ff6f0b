"""Training by TRL: rows in, a model folder and its curves out, from the last checkpoint on if there is one."""

import json
import logging
import math
import os
import shutil
import sys
import warnings
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, cast

import datasets  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transformers
from accelerate import PartialState
from peft import PeftModel
from transformers import GenerationConfig, PreTrainedModel, PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sgpo_data.engines.chat import Chat
from sgpo_data.engines.local.weights import load_weights, read_weights
from sgpo_data.engines.threads import fit_threads
from sgpo_data.errors import EngineError, RecipeError, SgpoError, first_line
from sgpo_data.interruption import interruptible
from sgpo_data.progress import Report, progress
from sgpo_data.references.model import COUNTED, NOT_COUNTED
from sgpo_data.store.cost import DONE, PastCost
from sgpo_data.store.files import write_text
from sgpo_data.training.curves import LOG
from sgpo_data.training.rows import kept_rows, token_rows
from sgpo_data.training.settings import loading_keys, recorded, total_steps, trl_config
from sgpo_data.training.sharding import forget_zero3, refuse_whole_copies, share_on_cpus
from sgpo_data.training.start import checked_start, lora_config
from sgpo_data.training.task import ADAPTER, CHECKPOINTS, MODEL, RESULT, TrainingResult, TrainingTask
from sgpo_data.training.tracking import TENSORBOARD, tensorboard_folder
from sgpo_data.training.trainers import ExampleTrainer, PairTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

LESS_MEMORY = "lower --batch-tokens, set train.gradient_checkpointing or train.lora.rank, or share by --sharding fsdp"
CURVE_TYPES: dict[str, pa.DataType] = {"step": pa.int32(), "epoch": pa.float64(), "name": pa.string(), "value": pa.float64()}
# Counted from the last start on, so it would tell of kills.
_UNLOGGED = ("step", "epoch", "num_tokens", "total_flos")


class _Told(TrainerCallback):
    """Tells how far training is, and keeps what it has cost."""

    def __init__(self, task: TrainingTask, report: Report, rows: int, tokens_per_row: float) -> None:
        self.task, self.report, self.rows, self.tokens_per_row = task, report, rows, tokens_per_row
        self.started, self.first = monotonic(), 0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        self.first = state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        batch = self.task.train.batch_rows
        self.report(min(state.global_step * batch, self.rows), int((state.global_step - self.first) * batch * self.tokens_per_row))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        if state.is_world_process_zero:
            write_text(self.task.work / DONE, PastCost(seconds=self.task.seconds_before + monotonic() - self.started).model_dump_json())


def _has_bfloat16() -> bool:
    """Whether the processor has instructions for it."""
    return any(found for name, found in torch.cpu.get_capabilities().items() if name.endswith("bf16"))


def run_training(task: TrainingTask) -> TrainingResult:
    """The training carried through: in the work folder stand the model's files and its curves.

    Raises DatasetError if no row is short enough, RecipeError if TRL refuses the settings, EngineError if training cannot go on.
    """
    with interruptible():
        return _run_training(task)


def _run_training(task: TrainingTask) -> TrainingResult:
    _silence()
    # Of what wandb calls a project it reads this alone.
    os.environ.setdefault("WANDB_PROJECT", task.execution.project)
    chat = checked_start(task.start, task.train)
    tokenizer = _complete(chat)
    rows_read = token_rows(task, chat)
    data, lengths = rows_read.data, rows_read.lengths
    gpu = task.execution.device != "cpu" and torch.cuda.is_available()
    if not gpu and task.train.dtype == "bfloat16" and not _has_bfloat16():
        log.info('train: the weights are bfloat16, in which this processor computes several times slower; dtype = "float32" of train is faster here')
    config = trl_config(task, len(lengths), max(max(each) for each in lengths), gpu=gpu)
    if task.train.precompute_ref_log_probs and task.train.needs.compares:
        with PartialState().main_process_first():
            data = kept_rows(data, task.work / "rows")
    try:
        trainer = _trainer(task, config, data, tokenizer)
    except (ValueError, NotImplementedError, ImportError) as error:
        raise RecipeError(f"train: trl refuses these settings: {first_line(error)}; change the keys of trl, lora or the objective") from error
    refuse_whole_copies(task.execution.sharding, str(trainer.accelerator.distributed_type.value))
    steps, tokens_per_row = total_steps(task.train, len(lengths)), sum(map(sum, lengths)) / len(lengths)
    rows = min(math.ceil(len(lengths) * task.train.epochs), steps * task.train.batch_rows)
    style, status = (task.execution.progress, task.execution.status) if trainer.is_world_process_zero() else ("none", None)
    with progress({f"train {task.train.objective}": rows}, style=style, status=status) as (report,):
        trainer.add_callback(_Told(task, report, rows, tokens_per_row))
        if task.execution.report_to == TENSORBOARD and trainer.is_world_process_zero():
            trainer.add_callback(_tensorboard(task))
        try:
            trainer.train(resume_from_checkpoint=_last_checkpoint(task.work / CHECKPOINTS))
        except torch.cuda.OutOfMemoryError as error:
            raise EngineError(f"train: the device has no memory left ({first_line(error)}); {LESS_MEMORY}") from error
    metrics = _write_curves(task, trainer.state)
    _write_model(task, trainer)
    return TrainingResult(
        rows=len(lengths),
        left_out=rows_read.left_out,
        unusable=rows_read.unusable,
        tokens=round((trainer.state.epoch or 0.0) * len(lengths) * tokens_per_row),
        steps=trainer.state.global_step,
        config=recorded(config),
        metrics=metrics,
        accelerator=torch.cuda.get_device_name() if gpu else None,
    )


def _tensorboard(task: TrainingTask) -> TrainerCallback:
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    folder = tensorboard_folder(task.execution, task.execution.run_name or task.work.parent.name)
    return TensorBoardCallback(SummaryWriter(log_dir=str(folder)))  # type: ignore[no-untyped-call]


def _silence() -> None:
    # Of the reference's answers beforehand.
    os.environ.setdefault("TQDM_DISABLE", "1")
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    datasets.disable_progress_bars()
    logging.getLogger("accelerate").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"(torch|transformers|trl|peft|accelerate)\b")


def _trainer(task: TrainingTask, config: TrainingArguments, data: datasets.Dataset, tokenizer: "PreTrainedTokenizerBase") -> PairTrainer | ExampleTrainer:
    adapter = lora_config(task.train.lora)
    # Given by path: TRL would look for the name the model was saved under, which may be another model by now.
    given = {"model": str(task.start), "args": config, "train_dataset": data, "processing_class": tokenizer, "peft_config": adapter}
    if not task.train.needs.compares:
        trainer: PairTrainer | ExampleTrainer = ExampleTrainer(**given)
    else:
        trainer = PairTrainer(ref_model=_reference(task), **given)
        if task.train.precompute_ref_log_probs:
            # It has answered for every pair.
            trainer.ref_model = None
    # Sharded, the weights themselves are float32 and are computed with in 16 bits.
    trainer.in_float32 = task.train.optimizer_dtype == "float32" and task.execution.sharding == "none"
    trainer.remove_callback(PrinterCallback)
    model = cast(PreTrainedModel, trainer.model)
    fit_threads(model)
    _savable(cast(PreTrainedModel, model.get_base_model()) if isinstance(model, PeftModel) else model)
    return trainer


def _complete(chat: Chat) -> "PreTrainedTokenizerBase":
    """The tokenizer with what TRL asks for and rows that are tokenized do not: an end of sequence and padding."""
    tokenizer = chat.tokenizer
    end = tokenizer.convert_ids_to_tokens(chat.end_of_turn)
    if tokenizer.eos_token is None:
        tokenizer.eos_token = end
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _reference(task: TrainingTask) -> PreTrainedModel | None:
    """The reference as its own weights; None if the start answers for it: with its adapter off, or before its first step."""
    # Sharded, weights are shared out only when training begins, and the start cannot answer before.
    before = task.train.precompute_ref_log_probs and task.execution.sharding == "none"
    if task.reference is None or (before and task.reference == task.start):
        return None
    model = _loaded(task.reference, task.train.dtype)
    if attention := loading_keys(task).get("attn_implementation"):
        model.set_attn_implementation(str(attention))
    return model


def _loaded(folder: Path, dtype: str = "float32") -> PreTrainedModel:
    model = load_weights(folder, dtype=dtype)
    fit_threads(model)
    return _savable(model)


def _savable(model: PreTrainedModel) -> PreTrainedModel:
    """The model with generation settings that transformers agrees to write; the start's own file is copied beside the weights at the end."""
    try:
        model.generation_config.validate(strict=True)
    except (ValueError, AttributeError):
        model.generation_config = GenerationConfig.from_model_config(model.config)
    return model


def _last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; all others are removed."""
    whole: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        try:
            # Written last of all its files.
            step = json.loads((path / "trainer_state.json").read_bytes())["global_step"]
        except (OSError, ValueError, KeyError, TypeError):
            step = None
        if path.name == f"checkpoint-{step}":
            whole[step] = path
    last = whole[max(whole)] if whole else None
    for path in folder.glob("checkpoint-*"):
        if path != last:
            shutil.rmtree(path, ignore_errors=True)
    return None if last is None else str(last)


def _write_curves(task: TrainingTask, state: TrainerState) -> dict[str, float]:
    """Writes the logged numbers, one row each, and gives the last of each."""
    # In order of step and name, whether they were logged in this session or read from a checkpoint.
    rows = sorted(
        (int(entry["step"]), float(entry["epoch"]), name, float(value))
        for entry in state.log_history
        if "train_runtime" not in entry
        for name, value in entry.items()
        if name not in _UNLOGGED
    )
    for step, _, name, value in rows:
        if name == "loss" and not math.isfinite(value):
            raise EngineError(f"train: the loss is {value} at step {step}; lower learning_rate, remove the folder and train again")
    if state.is_world_process_zero:
        table = pa.Table.from_pylist([dict(zip(CURVE_TYPES, row, strict=True)) for row in rows], schema=pa.schema(CURVE_TYPES))
        pq.write_table(table, task.work / LOG, compression="zstd")
    return {name: value for _, _, name, value in rows if math.isfinite(value)}


def _write_model(task: TrainingTask, trainer: PairTrainer | ExampleTrainer) -> None:
    """Writes the weights whole, in the type of the start's, beside copies of all else that makes the start a model."""
    saved, folder = task.work / "saved", task.work / MODEL
    trainer.save_model(str(saved))
    if not trainer.is_world_process_zero():
        return
    shutil.rmtree(folder, ignore_errors=True)
    if task.execution.sharding == "zero3":
        forget_zero3()
    if task.train.lora.rank:
        model = PeftModel.from_pretrained(_loaded(task.start), str(saved)).merge_and_unload()
    else:
        model = _savable(read_weights(saved, dtype="float32"))
    model.to(getattr(torch, task.dtype))
    if not all(bool(weight.isfinite().all()) for weight in model.parameters()):
        raise EngineError("train: some weights are no numbers any more; lower learning_rate, remove the folder and train again")
    model.save_pretrained(folder)
    for path in task.start.iterdir():
        weights = path.suffix in (".safetensors", ".bin") or path.name.endswith(".index.json")
        if path.is_file() and path.suffix in COUNTED and path.name not in NOT_COUNTED and not weights:
            shutil.copyfile(path, folder / path.name)
    if task.train.lora.rank:
        _write_adapter(task, saved, folder / ADAPTER)


def _write_adapter(task: TrainingTask, saved: Path, folder: Path) -> None:
    folder.mkdir()
    shutil.copyfile(saved / "adapter_model.safetensors", folder / "adapter_model.safetensors")
    config = json.loads((saved / "adapter_config.json").read_bytes())
    # In place of a path of this machine.
    write_text(folder / "adapter_config.json", json.dumps({**config, "base_model_name_or_path": task.start_identity}, indent=2) + "\n")


def main(path: Path) -> int:
    """One of several training processes, as Accelerate starts them: the task is a file, and so is what comes of it."""
    task = TrainingTask.model_validate_json(path.read_bytes())
    if task.execution.sharding != "none":
        share_on_cpus()
    try:
        result = run_training(task)
    except SgpoError as error:
        print(error, file=sys.stderr)  # noqa: T201 (a process of its own)
        return error.exit_code
    if int(torch.distributed.get_rank() if torch.distributed.is_initialized() else 0) == 0:
        write_text(task.work / RESULT, result.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
