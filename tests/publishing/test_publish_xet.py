"""Publishing by xet, which is how a Hub takes large files in production: as long as hf_xet has its door for tests."""

from pathlib import Path

import pytest
from hub_faults import Fault
from hub_server import Hub
from hub_xet import XetFolders, files
from test_publish import contents, pairs_of, titles, version, wanted

from sgpo_data.errors import HubError
from sgpo_data.publishing.publish import publish

hf_xet = pytest.importorskip("hf_xet")


@pytest.fixture
def folders(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> XetFolders:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    folders = XetFolders(tmp_path / "xet", hub.repositories)
    hub.answers.xet_token, hub.answers.adopt = folders.token, folders.adopt
    return folders


def test_versions_go_up_by_xet_in_one_commit_each(hub: Hub, folders: XetFolders, tmp_path: Path) -> None:
    one, two = version("v1", pairs_of(tmp_path, "a", "b", "c")), version("v2", pairs_of(tmp_path, "d"))
    hub.faults.add(Fault("status", "POST", "/commit/", status=500, applied=True, times=1), Fault("reset", "POST", "/commit/", times=1))
    publish(one)
    publish(two)
    assert titles(hub) == ["Publish v2", "Publish v1", "initial commit"]
    assert (contents(hub, "v1"), contents(hub, "v2")) == (wanted(one), wanted(two))
    assert hub.asked("PUT") == []
    assert {file.sha256 for place in folders.folder.iterdir() for file in files(place)} <= {file.sha256 for file in (*one.files, *two.files)}


def test_xet_that_is_down_is_one_line(hub: Hub, folders: XetFolders, tmp_path: Path) -> None:
    hub.faults.add(Fault("status", "GET", "xet-write-token", status=404))
    with pytest.raises(HubError, match="org/x: the Hub cannot be reached"):
        publish(version("v1", pairs_of(tmp_path, "a")))
    assert titles(hub) == ["initial commit"]
