"""TRL's trainers on rows that are tokenized, with the optimizer and the mean of a step that are meant here."""

from collections.abc import Iterator

import datasets  # type: ignore[import-untyped]
import torch
from transformers import Trainer
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_trainer import SFTTrainer

from sgpo_data.training.float32_copy import step_in_float32


class SteppingTrainer(Trainer):
    """A trainer whose optimizer steps in float32 if that is asked for."""

    in_float32 = False

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimizer that TRL would take, over float32 copies of weights of 16 bits."""
        optimizer = super().create_optimizer(model)
        return step_in_float32(optimizer) if self.in_float32 else optimizer


class ExampleTrainer(SteppingTrainer, SFTTrainer):
    """SFT on rows that are tokenized."""


class PairTrainer(SteppingTrainer, DPOTrainer):
    """DPO on rows that are tokenized, whose step is the mean over its pairs, also where the last pairs of an epoch do not fill what is computed at once."""

    def _prepare_dataset(self, dataset: datasets.Dataset, *_: object) -> datasets.Dataset:
        return dataset

    def get_batch_samples(
        self, epoch_iterator: Iterator[object], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, torch.Tensor]], torch.Tensor | int | None]:
        """The batches of a step, whose rows are counted."""
        samples, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._step_batches, self._step_rows = len(samples), sum(len(each["input_ids"]) for each in samples)
        return samples, items

    def compute_loss(self, model: object, inputs: dict[str, torch.Tensor], return_outputs: bool = False, num_items_in_batch: object = None) -> torch.Tensor:
        """The loss of a batch, weighted so that each pair of a step counts the same."""
        loss: torch.Tensor = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[no-untyped-call]
        return loss * (len(inputs["input_ids"]) * self._step_batches / self._step_rows)
