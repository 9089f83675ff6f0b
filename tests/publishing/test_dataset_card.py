"""The card tells what a version is, how it was made and how to use it, the same for the same facts, and makes nothing up."""

import hashlib
from pathlib import Path

import pytest
from hub_server import Hub
from huggingface_hub import CommitOperationAdd, DatasetCard, HfApi
from literal_rows import pair_row, row
from made import made_dataset

from sgpo_data.publishing.card import CardFacts, Config, dataset_card, inherited_license
from sgpo_data.publishing.card_text import _cell
from sgpo_data.publishing.lineage import Lineage
from sgpo_data.store.manifest import Identity, InputRecord, Manifest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def source(made: Manifest, *fingerprints: str) -> Manifest:
    """A manifest of prompts that were read from these."""
    inputs = tuple(InputRecord(reference="somewhere", table=None, fingerprint=each) for each in fingerprints)
    identity = Identity(stage="source", revision=1, schema_version=2, fields={}, inputs=inputs, models={})
    return made.model_copy(update={"identity": identity, "table": "prompts"})


def facts(tmp_path: Path, *, lineage: Lineage | None = None, license: str | None = None) -> CardFacts:
    pairs = made_dataset(tmp_path / "pairs", "pairs", [pair_row("a", chosen_tokens=12, rejected_tokens=10), pair_row("b", chosen_tokens=5, rejected_tokens=9)])
    filtered = made_dataset(tmp_path / "filtered", "filtered", [row("a"), row("b"), row("c", dropped_by="changed", failed_rules=["changed"])])
    return CardFacts("org/x", "v1", (Config("pairs", pairs), Config("filtered", filtered)), lineage or Lineage(datasets=(), models=(), gone=()), license, None)


def test_the_same_facts_give_the_same_card(tmp_path: Path) -> None:
    cards = {hashlib.sha256(dataset_card(facts(tmp_path)).encode()).hexdigest() for _ in range(3)}
    assert len(cards) == 1


def test_the_front_matter_is_what_the_hub_reads(tmp_path: Path) -> None:
    data = DatasetCard(dataset_card(facts(tmp_path, license="cc-by-4.0"))).data.to_dict()  # type: ignore[no-untyped-call]
    assert data["license"] == "cc-by-4.0"
    assert [each["config_name"] for each in data["configs"]] == ["pairs", "filtered"]
    assert data["size_categories"] == ["n<1K"]
    assert {"sgpo-data", "preference", "dpo"} <= set(data["tags"])
    assert "license:" not in dataset_card(facts(tmp_path))


def test_the_text_has_the_waterfall_the_columns_and_the_numbers(tmp_path: Path) -> None:
    text = dataset_card(facts(tmp_path))
    assert "| `changed` | 1 | 33.3 % |" in text
    assert "| `kept` | 2 | 66.7 % |" in text
    assert "| pairs whose chosen is longer | 1 |" in text
    assert "| `chosen` | `STRUCT" in text
    assert "The better answer, one assistant turn" in text
    for command in ('load_dataset("org/x", "pairs", split="train", revision="v1")', "DPOTrainer", "hf://datasets/org/x@v1/pairs/*.parquet", "sgpo reproduce"):
        assert command in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    ("licenses", "local", "expected"),
    [
        (["mit"], False, "mit"),
        (["mit", "mit"], False, "mit"),
        (["mit", "apache-2.0"], False, None),
        ([None], False, None),
        (["mit"], True, None),
        ([], True, None),
    ],
)
def test_a_licence_is_taken_over_only_from_sources_that_all_state_it(
    hub: Hub, tmp_path: Path, licenses: list[str | None], local: bool, expected: str | None
) -> None:
    fingerprints = []
    for number, license in enumerate(licenses):
        api, name = HfApi(), f"org/source-{number}"
        api.create_repo(name, repo_type="dataset")
        card = f"---\nlicense: {license}\n---\n" if license else "---\ntags: []\n---\n"
        commit = api.create_commit(name, [CommitOperationAdd("README.md", card.encode())], commit_message="m", repo_type="dataset").oid
        fingerprints.append(f"hub:{name}@{commit}/default/train")
    made = made_dataset(tmp_path / "pairs", "pairs", [pair_row("a")]).manifest
    lineage = Lineage(datasets=(source(made, *fingerprints, *(["file:abc"] if local else [])),), models=(), gone=())
    assert inherited_license(lineage) == expected


def test_a_source_that_is_gone_states_no_licence(hub: Hub, tmp_path: Path) -> None:
    made = made_dataset(tmp_path / "pairs", "pairs", [pair_row("a")]).manifest
    assert inherited_license(Lineage(datasets=(source(made, f"hub:org/gone@{COMMIT}/default/train"),), models=(), gone=())) is None


def test_a_hostile_name_stays_in_its_cell() -> None:
    assert _cell("a|b\n# title <script>`x`") == "a\\|b # title &lt;script&gt;'x'"
