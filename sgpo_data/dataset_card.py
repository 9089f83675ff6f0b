"""The card of a published dataset: what the Hub and its readers are told of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sgpo_data.dataset import Dataset
from sgpo_data.lineage import Lineage
from sgpo_data.schema import schema

SPLIT = "train"


@dataclass(frozen=True)
class Config:
    """A dataset under the name that it is loaded by; its files lie in a folder of that name."""

    name: str
    dataset: Dataset


@dataclass(frozen=True)
class CardFacts:
    """All that a card is made of; nothing in it depends on the day or the machine that it is published from."""

    repository: str
    tag: str
    configs: tuple[Config, ...]
    """The first is loaded when none is named."""
    lineage: Lineage
    license: str | None
    recipe: Path | None
    """The frozen recipe of the run, where a run is published."""


def dataset_card(facts: CardFacts) -> str:
    """README.md of the dataset, as Markdown with the Hub's front matter."""
    from huggingface_hub import DatasetCard, DatasetCardData

    data = DatasetCardData(
        license=facts.license,
        tags=["sgpo-data"],
        configs=[_loading(config, default=number == 0) for number, config in enumerate(facts.configs)],
        dataset_info=[{"config_name": config.name, "features": features(schema(config.dataset.table).arrow)} for config in facts.configs],
    )
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{_text(facts)}"))


def features(arrow: pa.Schema) -> list[dict[str, object]]:
    """The columns as `datasets` writes them into a card."""
    return [{"name": field.name, **_feature(field.type)} for field in arrow]


def _feature(arrow: pa.DataType) -> dict[str, object]:
    if pa.types.is_list(arrow):
        inner = _feature(arrow.value_type)
        return {"list": inner.get("struct") or inner["dtype"]}
    if pa.types.is_struct(arrow):
        return {"struct": [{"name": field.name, **_feature(field.type)} for field in arrow]}
    return {"dtype": {"double": "float64", "float": "float32"}.get(str(arrow), str(arrow))}


def _loading(config: Config, *, default: bool) -> dict[str, object]:
    files: list[dict[str, str]] = [{"split": SPLIT, "path": f"{config.name}/*.parquet"}]
    return {"config_name": config.name, "data_files": files, **({"default": True} if default else {})}


def _text(facts: CardFacts) -> str:
    name = facts.repository.partition("/")[2]
    return "\n".join([
        f"# {name} {facts.tag}",
        "",
        "Made with `sgpo-data`: preference data that a model generated, with every step it came from.",
        "",
        "| config | holds | rows | fingerprint |",
        "| --- | --- | --- | --- |",
        *_rows(facts.configs),
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'load_dataset("{facts.repository}", "{facts.configs[0].name}", split="{SPLIT}", revision="{facts.tag}")',
        "```",
        "",
    ])  # fmt: skip


def _rows(configs: Sequence[Config]) -> list[str]:
    made = [(each.name, each.dataset.manifest) for each in configs]
    return [f"| {name} | {schema(manifest.table).comment} | {manifest.rows} | `{manifest.fingerprint[:16]}` |" for name, manifest in made]
