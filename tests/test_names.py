"""Claims about identities and places: what is written is read back, whatever a folder or a model is called."""

from pathlib import Path

import pytest
from fake_model import model_folder

from sgpo_data.names import (
    AdaptedModel,
    EndpointModel,
    FolderModel,
    HubModel,
    HubRows,
    MadeName,
    ModelIdentity,
    ModelPlace,
    TrainedModel,
    model_identity,
)
from sgpo_data.references.model import find_model, recorded_model

IDENTITIES: dict[str, ModelIdentity] = {
    "train:0123": TrainedModel("0123"),
    "folder:abcd": FolderModel("abcd"),
    "hub:org/name@0123": HubModel("org/name", "0123"),
    "endpoint:a+b@c": EndpointModel("a+b@c"),
    "hub:org/name@0123+train:4567": AdaptedModel(HubModel("org/name", "0123"), TrainedModel("4567")),
}


@pytest.mark.parametrize("text", IDENTITIES)
def test_an_identity_is_read_as_it_is_written(text: str) -> None:
    identity = IDENTITIES[text]
    assert model_identity(text) == identity
    assert str(identity) == text


@pytest.mark.parametrize("text", ["given", "models/p", "folder", "folder:a+elsewhere"])
def test_what_is_no_identity_is_none(text: str) -> None:
    assert model_identity(text) is None


def test_raw_rows_of_the_hub_are_read_as_they_are_written() -> None:
    rows = HubRows("org/name", "01ab", "default", "train[:10%]")
    assert str(rows) == "hub:org/name@01ab/default/train[:10%]"
    assert HubRows.parsed(str(rows)) == rows
    assert HubRows.parsed("sha256:01ab") is None


def test_what_was_made_is_named_by_table_and_eight_digits() -> None:
    assert str(MadeName.made("pairs", "0123456789abcdef")) == "pairs@01234567"
    assert MadeName.parsed("pairs@01234567") == MadeName("pairs", "01234567")
    assert MadeName.parsed("pairs") is None
    assert str(TrainedModel.made("0123456789abcdef" * 4).name) == "model@01234567"


@pytest.mark.parametrize("place", [ModelPlace("/a+b/c"), ModelPlace("openai:a+b"), ModelPlace("/a+/b", "/c+d/%2B"), ModelPlace("org/name@01", "/c")])
def test_a_place_is_read_as_it_is_written_whatever_folders_are_called(place: ModelPlace) -> None:
    identity = "endpoint:a+b" if place.base.startswith("openai:") else "folder:a" if place.adapter is None else "folder:a+folder:b"
    assert ModelPlace.parsed(str(place), identity) == place


def test_a_place_of_two_folders_reads_as_before_where_no_folder_has_a_plus() -> None:
    assert str(ModelPlace("/a/b", "/c")) == "/a/b+/c"


def test_a_model_below_a_folder_with_a_plus_is_found_again(tmp_path: Path) -> None:
    model = find_model(str(model_folder(tmp_path / "a+b" / "model")))
    assert recorded_model(model.record, flag="--model") == model


def test_a_model_and_its_adapter_below_folders_with_a_plus_are_found_again(tmp_path: Path) -> None:
    adapter = model_folder(tmp_path / "c+d" / "adapter")
    (adapter / "adapter_config.json").write_text("{}")
    model = find_model(str(model_folder(tmp_path / "a+" / "model")), str(adapter))
    assert recorded_model(model.record, flag="--model") == model
