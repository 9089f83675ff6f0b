"""The card of a trained model: from what, on what, how, and what the curves came to."""

import json
from pathlib import PurePath

from sgpo_data.names import HubModel, TrainedModel
from sgpo_data.store.manifest import ModelManifest, ModelRecord
from sgpo_data.training.curves import LOG
from sgpo_data.training.options import Train
from sgpo_data.training.task import ADAPTER

_CONFIG = (
    "learning_rate", "lr_scheduler_type", "warmup_steps", "optim", "weight_decay", "max_grad_norm", "num_train_epochs", "max_steps",
    "per_device_train_batch_size", "gradient_accumulation_steps", "max_length", "beta", "loss_type", "loss_weights", "bf16", "seed",
)  # fmt: skip


def model_card(manifest: ModelManifest, start: ModelRecord) -> str:
    """README.md of the model, as Markdown with the Hub's front matter; places on this machine stay out of it."""
    fields = manifest.identity.fields
    assert isinstance(fields, dict)
    train = Train.model_validate(fields)
    data = [f"| {record.table} | `{PurePath(record.reference.rstrip('/')).name}` | `{record.fingerprint[:32]}` |" for record in manifest.identity.inputs]
    models = [f"| {role} | `{record.identity}` |" for role, record in manifest.identity.models.items()]
    metrics = [f"| {name} | {value:.6g} |" for name, value in manifest.metrics.items()]
    return "\n".join([
        *_front_matter(train, start),
        f"# {TrainedModel.made(manifest.fingerprint)}",
        "",
        f"Trained with {train.needs.title} by `sgpo train`, through TRL.",
        "",
        *_table("| model | identity |", models),
        *_table("| data | name | fingerprint |", data),
        f"{manifest.rows} rows were trained on in each epoch; {manifest.left_out} were longer than max_tokens and left out.",
        *_lora(train),
        "",
        "## Settings",
        "",
        *_table("| TRL | value |", _settings(manifest)),
        "## Last logged numbers",
        "",
        *_table("| name | value |", metrics),
        f"All of them, step by step, stand in `{LOG}`: one row per step and name. `manifest.json` holds every setting and version.",
        "",
    ])  # fmt: skip


def _front_matter(train: Train, start: ModelRecord) -> list[str]:
    base = start.kind.name if isinstance(start.kind, HubModel) else None
    lines = ["library_name: transformers", "pipeline_tag: text-generation", "tags:", "- sgpo-data", "- trl", f"- {train.objective}"]
    return ["---", *lines, *([f"base_model: {base}"] if base else []), "---", ""]


def _table(head: str, rows: list[str]) -> list[str]:
    return [head, "|" + " --- |" * (head.count("|") - 1), *rows, ""]


def _settings(manifest: ModelManifest) -> list[str]:
    config = manifest.config
    assert isinstance(config, dict)
    return [f"| {name} | `{json.dumps(config[name])}` |" for name in _CONFIG if name in config]


def _lora(train: Train) -> list[str]:
    if not train.lora.rank:
        return []
    return ["", f"A LoRA adapter of rank {train.lora.rank} was trained; it is merged into these weights, and kept by itself in `{ADAPTER}/`."]
