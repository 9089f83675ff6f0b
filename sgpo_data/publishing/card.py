"""The card of a published dataset: what the Hub and its readers are told of it."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sgpo_data.errors import DatasetError
from sgpo_data.evaluation.summary import EvaluationSummary
from sgpo_data.hub.repository import HubRepository
from sgpo_data.names import AdaptedModel, HubModel, HubRows
from sgpo_data.publishing.card_text import sections
from sgpo_data.publishing.lineage import Lineage
from sgpo_data.schema import schema
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.manifest import InputRecord

SPLIT = "train"
CARD = "README.md"
TAGS = {"pairs": ("preference", "dpo"), "examples": ("sft",), "filtered": ("perplexity",), "scored": ("perplexity",)}


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
    evaluation: EvaluationSummary | None = None
    """Of the model that the published round gave, where a run is published that evaluates it."""


def dataset_card(facts: CardFacts) -> str:
    """README.md of the dataset, as Markdown with the Hub's front matter; the same facts give the same card."""
    from huggingface_hub import DatasetCard, DatasetCardData

    data = DatasetCardData(
        license=facts.license,
        pretty_name=f"{facts.repository.partition('/')[2]} {facts.tag}",
        tags=["sgpo-data", *sorted({tag for config in facts.configs for tag in TAGS.get(config.dataset.table, ())})],
        task_categories=["text-generation"],
        size_categories=[_size(facts.configs[0].dataset.manifest.rows)],
        source_datasets=_sources(facts) or None,
        configs=[_loading(config, default=number == 0) for number, config in enumerate(facts.configs)],
        dataset_info=[{"config_name": config.name, "features": features(schema(config.dataset.table).arrow)} for config in facts.configs],
    )
    if models := _models(facts):
        data["base_model"] = models
    configs = {config.name: config.dataset for config in facts.configs}
    told = sections(
        configs,
        facts.lineage,
        repository=facts.repository,
        tag=facts.tag,
        split=SPLIT,
        recipe=facts.recipe is not None,
        evaluation=facts.evaluation,
    )
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(told)))


def inherited_license(lineage: Lineage) -> str | None:
    """The licence that every source of the lineage states on the Hub, None if one states none or they differ.

    Raises HubError if the Hub cannot be asked.
    """
    found = {_license(name, commit) for name, commit in hub_sources(lineage)}
    local = any(record.table is None and HubRows.parsed(record.fingerprint) is None for record in _raw(lineage))
    return None if local or len(found) != 1 else found.pop()


def _license(name: str, commit: str) -> str | None:
    """What the card of a dataset states, None if it states none or cannot be seen."""
    from huggingface_hub import DatasetCard

    hub = HubRepository(name)
    try:
        files = hub.files(commit)
        if CARD not in files:
            return None
        card = DatasetCard(hub.small_file(commit, CARD, files[CARD]).decode(errors="replace"), ignore_metadata_errors=True)
    except DatasetError:
        # It may be of another Hub, or be gone.
        return None
    found = card.data.get("license")
    return found if isinstance(found, str) else None


def hub_sources(lineage: Lineage) -> list[tuple[str, str]]:
    """Name and commit of each source on the Hub, in the order in which they are found."""
    sources = [HubRows.parsed(record.fingerprint) for record in _raw(lineage)]
    return list(dict.fromkeys((source.name, source.commit) for source in sources if source))


def _raw(lineage: Lineage) -> list[InputRecord]:
    return [record for manifest in lineage.datasets for record in manifest.identity.inputs if record.table is None]


def _sources(facts: CardFacts) -> list[str]:
    return [name for name, _ in hub_sources(facts.lineage)]


def _models(facts: CardFacts) -> list[str]:
    """Models of the Hub that took part, by name."""
    identities = [each.identity for each in (*facts.lineage.datasets, *(config.dataset.manifest for config in facts.configs))]
    identities += [each.identity for each in facts.lineage.models]
    models = [record.kind for identity in identities for record in identity.models.values()]
    parts = [part for model in models for part in ((model.base, model.adapter) if isinstance(model, AdaptedModel) else (model,))]
    return sorted({part.name for part in parts if isinstance(part, HubModel)})


def _size(rows: int) -> str:
    """As the Hub names sizes."""
    steps = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M", 100_000_000: "10M<n<100M"}
    return next((name for most, name in steps.items() if rows < most), "100M<n<1B")


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
