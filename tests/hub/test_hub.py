"""What is asked of a Hub is asked again where that helps, and what it cannot give is one line."""

import time

import pytest
from hub_faults import Fault
from hub_server import Hub

from sgpo_data.errors import HubError, ModelError
from sgpo_data.hub import client as ours
from sgpo_data.hub.repository import HubRepository
from sgpo_data.references.model import find_model

MODEL = {"config.json": b"{}", "model.safetensors": b"weights"}


def test_refs_files_history_and_a_small_file_come_through_faults(hub: Hub) -> None:
    first = hub.repositories.commit_files("org/x", {"a.json": b"1", "b/c.json": b"22"}, title="one")
    second = hub.repositories.commit_files("org/x", {"a.json": b"1"}, branch="feature/x", title="two")
    hub.repositories.tag(hub.repositories.find("org/x"), "v1", first)
    hub.answers.page_size = 1
    hub.faults.add(*(Fault("status", "GET", path, status=status, times=2) for path, status in (("/refs", 500), ("/tree/", 429), ("resolve", 503))))
    hub.faults.add(Fault("reset", "GET", "/commits/", times=1))
    repository = HubRepository("org/x")
    assert repository.refs().branches == {"main": first, "feature/x": second}
    assert repository.refs().tags == {"v1": first}
    files = repository.files(first)
    assert {path: digest.size for path, digest in files.items()} == {"a.json": 1, "b/c.json": 2}
    assert repository.small_file(first, "b/c.json", files["b/c.json"]) == b"22"
    assert [commit.title for commit in repository.history("feature/x", 2)] == ["two", "one"]


def test_a_small_file_that_comes_damaged_is_not_taken(hub: Hub) -> None:
    commit = hub.repositories.commit_files("org/x", {"a.json": b"123"})
    repository = HubRepository("org/x")
    digest = repository.files(commit)["a.json"]
    hub.faults.add(Fault("flip", "GET", "resolve"))
    with pytest.raises(HubError, match=r"org/x@\w{8}/a.json: came damaged"):
        repository.small_file(commit, "a.json", digest)


def test_a_model_of_the_hub_is_known_by_its_commit(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    old = hub.repositories.commit_files("org/m", MODEL, kind="model")
    hub.repositories.commit_files("org/m", {**MODEL, "config.json": b"[]"}, kind="model")
    hub.repositories.tag(hub.repositories.find("org/m", "model"), "v1", old)
    hub.faults.add(Fault("status", "GET", "/api/models", times=2))
    model = find_model("org/m@v1")
    assert (model.record.identity, model.record.location) == (f"hub:org/m@{old}", f"org/m@{old}")
    assert (model.folder / "config.json").read_bytes() == b"{}"
    for reference, words in (("org/m@v2", "org/m: no revision v2 in this Hub model; and there is no folder org/m"), ("org/n", "no such model on the Hub")):
        with pytest.raises(ModelError, match=words):
            find_model(reference)
    hub.faults.add(Fault("status"))
    with pytest.raises(HubError, match="org/m: the Hub answered 503; try again later; and there is no folder org/m"):
        find_model("org/m")


def test_a_hub_that_asks_for_a_pause_gets_it_within_reason(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", type("Clock", (), {"sleep": waited.append, "time": time.time}))
    hub.repositories.commit_files("org/x", {"a.json": b"1"})
    hub.faults.add(Fault("status", "GET", "/refs", status=429, headers={"Retry-After": "7"}, times=1))
    hub.faults.add(Fault("status", "GET", "/refs", status=429, headers={"Retry-After": "86400"}, times=1))
    HubRepository("org/x").refs()
    assert waited == [7.0, 4 * ours.LONGEST_PAUSE_SECONDS]
