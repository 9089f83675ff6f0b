"""Losses that are no objective of the toolkit, on the pairs of a round, by TRL: what they would be worth before anyone adds them."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import datasets  # type: ignore[import-untyped]
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, PrinterCallback, Trainer
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from method.recipes import TEXT_TOKENS, Settings
from sgpo_data.engines.chat import Chat, load_chat
from sgpo_data.store.dataset import open_dataset
from sgpo_data.training.trainers import PairTrainer

ROWS = 32
"""Pairs of a step, as `train` has."""
DPOP_BETA, DPOP_WEIGHT = 0.3, 50.0
"""As arXiv 2402.13228 has them."""


class DpopTrainer(PairTrainer):
    """DPO with a penalty where chosen becomes less likely than under the reference (arXiv 2402.13228, eq. 3)."""

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor], return_outputs: bool = False) -> torch.Tensor:
        assert self.ref_model is not None
        chosen, rejected = _log_likelihoods(model, inputs)
        with torch.no_grad():
            reference_chosen, reference_rejected = _log_likelihoods(self.ref_model, inputs)
        gain, loss = chosen - reference_chosen, rejected - reference_rejected
        return -functional.logsigmoid(DPOP_BETA * (gain - loss - DPOP_WEIGHT * torch.relu(-gain))).mean()


class AnswerTrainer(KTOTrainer):
    """KTO (arXiv 2402.01306) on rows that are tokenized; each is compared with the answer of the row before it in its batch."""

    def _prepare_dataset(self, dataset: datasets.Dataset, processing_class: object, args: KTOConfig, dataset_name: str) -> datasets.Dataset:
        def mismatched(rows: dict[str, list[object]]) -> dict[str, list[object]]:
            answers = rows["completion_ids"]
            return {**rows, "KL_completion_ids": [answers[-1], *answers[:-1]]}

        return dataset.map(mismatched, batched=True, batch_size=args.per_device_train_batch_size)


def _log_likelihoods(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
    output = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels, use_cache=False, fused_lm_head=True)
    chosen, rejected = output.log_probs[:, 1 - labels.shape[1] :].sum(dim=1).chunk(2)
    return chosen, rejected


def train_loss(loss: str, start: Path, pairs: Path, into: Path, settings: Settings, seed: int) -> Path:
    """The model that `start` becomes by a loss on pairs, in a folder of its own that is only there when it is whole."""
    if into.exists():
        return into
    chat = load_chat(start)
    rows = [_ids(chat, row) for row in open_dataset(pairs).scan().select("prompt", "chosen", "rejected").collect().iter_rows(named=True)]
    trainer = LOSSES[loss](start, rows, chat, into.with_suffix(".work"), settings, seed)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    aside = into.with_suffix(".writing")
    # Everything that is not the weights is that of the start, but for what tells how it was trained.
    shutil.copytree(start, aside, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json", "README.md", "log.parquet"))
    trainer.save_model(str(aside))
    chat.tokenizer.save_pretrained(aside)
    return aside.rename(into)


def _ids(chat: Chat, row: Mapping[str, object]) -> dict[str, list[int]]:
    prompt, chosen, rejected = row["prompt"], row["chosen"], row["rejected"]
    assert isinstance(prompt, list)
    assert isinstance(chosen, list)
    assert isinstance(rejected, list)
    read = [chat.rendering(prompt, answer[0]["content"]) for answer in (chosen, rejected)]
    better, worse = (each for each in read if each is not None)
    return {"prompt_ids": better.prompt, "chosen_ids": better.answer, "rejected_ids": worse.answer}


def _keys(folder: Path, settings: Settings, seed: int) -> dict[str, object]:
    return {
        "output_dir": str(folder),
        "learning_rate": settings.rate,
        "num_train_epochs": settings.epochs,
        "seed": seed,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "max_length": TEXT_TOKENS,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def _dpop(start: Path, rows: list[dict[str, list[int]]], chat: Chat, folder: Path, settings: Settings, seed: int) -> Trainer:
    config = DPOConfig(**_keys(folder, settings, seed), beta=DPOP_BETA, per_device_train_batch_size=ROWS)  # type: ignore[arg-type]
    reference = AutoModelForCausalLM.from_pretrained(start)
    return DpopTrainer(model=str(start), ref_model=reference, args=config, train_dataset=datasets.Dataset.from_list(rows), processing_class=chat.tokenizer)


def _kto(start: Path, rows: list[dict[str, list[int]]], chat: Chat, folder: Path, settings: Settings, seed: int) -> Trainer:
    config = KTOConfig(**_keys(folder, settings, seed), beta=settings.beta, per_device_train_batch_size=2 * ROWS)  # type: ignore[arg-type]
    answers = [
        {"prompt_ids": row["prompt_ids"], "completion_ids": row[side], "label": side == "chosen_ids"} for row in rows for side in ("chosen_ids", "rejected_ids")
    ]
    # TRL takes them in their order, so that mismatched answers stay in their batch.
    Random(seed).shuffle(answers)
    reference = AutoModelForCausalLM.from_pretrained(start)
    return AnswerTrainer(model=str(start), ref_model=reference, args=config, train_dataset=datasets.Dataset.from_list(answers), processing_class=chat.tokenizer)


LOSSES: Mapping[str, Callable[[Path, list[dict[str, list[int]]], Chat, Path, Settings, int], Trainer]] = {"dpop": _dpop, "kto": _kto}
