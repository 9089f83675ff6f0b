"""The Hub of the tests behaves to the real clients as the real one: what it takes, gives, refuses, loses, and keeps over a kill."""

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from hub_answers import OWNER, READER, STRANGER
from hub_faults import Fault
from hub_repository import Repositories
from hub_server import Hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoFile, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

DATA = b"PAR1" + bytes(range(256)) * 40


def add(path: str, content: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path, content)


def committed(api: HfApi, *operations: CommitOperationAdd | CommitOperationDelete, parent: str | None = None, branch: str = "main") -> str:
    info = api.create_commit("org/x", operations, commit_message="m", commit_description="d", repo_type="dataset", parent_commit=parent, revision=branch)
    return str(info.oid)


@pytest.fixture
def api(hub: Hub) -> HfApi:
    api = HfApi()
    api.create_repo("org/x", repo_type="dataset", private=True)
    return api


def test_a_commit_of_large_and_small_files_is_read_back_as_it_was(hub: Hub, api: HfApi) -> None:
    commit = committed(api, add("data/a.parquet", DATA), add("README.md", b"---\nlicense: mit\n---\n"), add("x y.json", b"{}"))
    tree = {entry.path: entry for entry in api.list_repo_tree("org/x", repo_type="dataset", recursive=True, expand=True)}
    assert sorted(tree) == [".gitattributes", "README.md", "data", "data/a.parquet", "x y.json"]
    large = tree["data/a.parquet"]
    assert isinstance(large, RepoFile)
    assert large.lfs is not None
    assert large.last_commit is not None
    assert large.lfs.sha256 == hashlib.sha256(DATA).hexdigest()
    assert large.last_commit.oid == commit
    assert api.repo_info("org/x", repo_type="dataset", files_metadata=True).sha == commit
    folder = Path(snapshot_download("org/x", repo_type="dataset", revision=commit))
    assert (folder / "data/a.parquet").read_bytes() == DATA
    assert (folder / "x y.json").read_bytes() == b"{}"
    api.verify_repo_checksums("org/x", repo_type="dataset", revision=commit, local_dir=folder)
    (put,) = hub.asked("PUT")
    assert (put.user, put.body_bytes) == (None, len(DATA))


def test_a_large_file_goes_up_in_parts_and_once(hub: Hub, api: HfApi) -> None:
    hub.answers.part_bytes = 4096
    hub.faults.add(Fault("cut_upload", "PUT", "part/2", times=1))
    first = committed(api, add("a.parquet", DATA))
    committed(api, CommitOperationDelete("a.parquet"), add("b.parquet", DATA))
    assert [each.path.rpartition("/")[2] for each in hub.asked("PUT")] == ["1", "2", "2", "3"]
    assert Path(hf_hub_download("org/x", "b.parquet", repo_type="dataset")).read_bytes() == DATA
    assert [commit.title for commit in api.list_repo_commits("org/x", repo_type="dataset")] == ["m", "m", "initial commit"]
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download("org/x", "a.parquet", repo_type="dataset")
    assert Path(hf_hub_download("org/x", "a.parquet", repo_type="dataset", revision=first)).read_bytes() == DATA


def test_branches_and_tags_are_made_once_and_a_stale_parent_is_refused(hub: Hub, api: HfApi) -> None:
    first = committed(api, add("a.json", b"1"))
    second = committed(api, add("a.json", b"2"), parent=first)
    with pytest.raises(HfHubHTTPError, match="412"):
        committed(api, add("a.json", b"3"), parent=first)
    api.create_tag("org/x", tag="v1", revision=first, repo_type="dataset")
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_tag("org/x", tag="v1", revision=second, repo_type="dataset")
    api.create_branch("org/x", branch="feature/x", revision="v1", repo_type="dataset")
    third = committed(api, add("b.json", b"4"), branch="feature/x")
    refs = api.list_repo_refs("org/x", repo_type="dataset")
    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": second, "feature/x": third}
    assert {ref.name: ref.target_commit for ref in refs.tags} == {"v1": first}
    with pytest.raises(RevisionNotFoundError):
        committed(api, add("b.json", b"5"), branch="v1")
    pull_request = api.create_commit("org/x", [add("c.json", b"1")], commit_message="m", repo_type="dataset", create_pr=True)
    assert pull_request.pr_revision == "refs/pr/1"


def test_listings_come_in_pages(hub: Hub, api: HfApi) -> None:
    hub.answers.page_size = 2
    committed(api, *(add(f"{name}.json", b"1") for name in "abcde"))
    assert len(list(api.list_repo_tree("org/x", repo_type="dataset"))) == 6
    assert len(hub.asked("GET", "/tree/")) == 3


def test_each_token_may_do_what_is_its_own(hub: Hub, api: HfApi, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api.whoami()["name"] == "owner"
    for token, status in ((READER, 403), (STRANGER, 404), ("hf_wrong", 401)):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(HfHubHTTPError) as failed:
            committed(api, add("a.json", b"1"))
        assert failed.value.response.status_code == status
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info("org/x", repo_type="dataset")
    api.update_repo_settings("org/x", repo_type="dataset", private=False, token=OWNER)
    assert api.repo_info("org/x", repo_type="dataset").private is False
    with pytest.raises(HfHubHTTPError):
        committed(api, add("a.json", b"1"))
    api.delete_repo("org/x", repo_type="dataset", token=OWNER)
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info("org/x", repo_type="dataset", token=OWNER)


def test_a_lost_answer_leaves_the_commit_and_an_error(hub: Hub, api: HfApi) -> None:
    hub.faults.add(Fault("reset", "POST", "/commit/", applied=True, times=1), Fault("status", "POST", "/commit/", applied=True, times=1))
    for number, error in enumerate((httpx2.TransportError, HfHubHTTPError), 2):
        with pytest.raises(error):
            committed(api, add("a.json", b"%d" % number))
        assert len(api.list_repo_commits("org/x", repo_type="dataset")) == number


def test_downloads_are_cut_flipped_and_given_whole_as_asked(hub: Hub, api: HfApi, tmp_path: Path) -> None:
    committed(api, add("a.parquet", DATA))
    get = "elsewhere/content"
    hub.faults.add(Fault("cut_download", "GET", get, times=1), Fault("flip", "GET", get, skip=1, times=1))
    assert Path(hf_hub_download("org/x", "a.parquet", repo_type="dataset", cache_dir=tmp_path / "1")).read_bytes() == DATA
    flipped = Path(hf_hub_download("org/x", "a.parquet", repo_type="dataset", cache_dir=tmp_path / "2")).read_bytes()
    assert (len(flipped), flipped == DATA) == (len(DATA), False)
    href = f"{hub.answers.repositories.find('org/x').name}"
    url = f"{hub.url}/datasets/{href}/resolve/main/a.parquet"
    headers = {"Authorization": f"Bearer {OWNER}", "Range": "bytes=4-7"}
    assert httpx2.get(url, headers=headers, follow_redirects=True).content == DATA[4:8]
    hub.faults.add(Fault("no_range", "GET", get))
    assert httpx2.get(url, headers=headers, follow_redirects=True).content == DATA


def test_a_server_that_is_killed_comes_back_whole(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    faults = json.dumps([{"kind": "reset", "method": "POST", "path": "/commit/", "applied": True}])
    serve = [sys.executable, str(Path(__file__).parent.with_name("hub_server.py")), str(folder), "--faults", faults]
    process = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    api = HfApi(process.stdout.readline().strip(), token=OWNER)
    api.create_repo("org/x", repo_type="dataset")
    with pytest.raises(httpx2.TransportError):
        committed(api, add("a.parquet", DATA))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with (folder / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"event": "delete", "kind": "data')
    repository = Repositories(folder).find("org/x")
    assert [commit.title for commit in repository.history("main")] == ["m", "initial commit"]
    assert repository.stored == {hashlib.sha256(DATA).hexdigest(): 1}
    assert repository.at("main").files["a.parquet"].size == len(DATA)
