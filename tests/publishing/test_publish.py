"""A published version is one verified commit under its tag: it loads, it stays, and nothing else is changed on the way."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import polars as pl
import pytest
from conftest import SERVER
from hub_answers import OWNER, READER, STRANGER, USERS
from hub_faults import Fault
from hub_server import Hub
from huggingface_hub import HfFileSystem, snapshot_download
from literal_rows import pair_row, row
from made import made_dataset
from made_run import made_run, planned
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.errors import DatasetError, HubError, UsageError
from sgpo_data.hub.version import PublicationRecord
from sgpo_data.publishing.card import Config, features
from sgpo_data.publishing.publication import Publication, publication
from sgpo_data.publishing.publish import checked_tag, preview, publish
from sgpo_data.schema import schema, tables
from sgpo_data.store.dataset import Dataset, faults, open_dataset
from sgpo_data.store.manifest import FileRecord

COMMIT = "/api/datasets/org/x/commit/"


def pairs_of(folder: Path, *names: str) -> Dataset:
    return made_dataset(folder / f"pairs-{'-'.join(names)}", "pairs", [pair_row(name) for name in names])


def version(tag: str, *datasets: Dataset, license: str | None = None) -> Publication:
    configs = [Config(dataset.table, dataset) for dataset in datasets]
    return publication(configs, "org/x", tag=tag, license=license, root=datasets[0].folder.parent)


def titles(hub: Hub) -> list[str]:
    return [commit.title for commit in hub.repositories.find("org/x").history("main")]


def contents(hub: Hub, tag: str) -> dict[str, str]:
    """SHA-256 of every file under a tag, as the Hub has them on its disk."""
    return {path: file.sha256 for path, file in hub.repositories.find("org/x").at(tag).files.items() if path != ".gitattributes"}


def wanted(published: Publication) -> dict[str, str]:
    return {file.path: file.sha256 for file in published.files}


@pytest.fixture
def one(tmp_path: Path) -> Publication:
    return version("v1", pairs_of(tmp_path, "a", "b", "c"))


@pytest.fixture
def two(tmp_path: Path) -> Publication:
    return version("v2", pairs_of(tmp_path, "a", "b"))


def test_tables_load_as_configs_at_their_tag_after_later_versions_came(hub: Hub, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    filtered = made_dataset(tmp_path / "filtered", "filtered", [row("a"), row("b", dropped_by="changed", failed_rules=["changed"])])
    publish(version("v1", pairs_of(tmp_path, "a", "b", "c"), filtered))
    publish(version("v2", pairs_of(tmp_path, "d")))
    cache = {"cache_dir": str(tmp_path / "datasets"), "revision": "v1", "split": "train"}
    pairs = datasets.load_dataset("org/x", "pairs", **cache)
    assert pairs["chosen"] == [[{"role": "assistant", "content": f"chosen {name}"}] for name in "abc"]
    assert datasets.load_dataset("org/x", "filtered", **cache)["dropped_by"] == [None, "changed"]
    assert [each["prompt_id"] for each in datasets.load_dataset("org/x", "pairs", streaming=True, **cache)] == pairs["prompt_id"]
    newest = datasets.load_dataset("org/x", split="train", revision="v2", cache_dir=cache["cache_dir"])
    assert newest["chosen"] == [[{"role": "assistant", "content": "chosen d"}]]
    with duckdb.connect() as con:
        con.register_filesystem(HfFileSystem())
        assert con.sql("SELECT count(*) FROM 'hf://datasets/org/x@v1/pairs/*.parquet'").fetchall() == [(3,)]
    with HfFileSystem().open("datasets/org/x@v1/pairs/part-00000.parquet") as file:
        assert pl.read_parquet(file)["prompt_id"].to_list() == pairs["prompt_id"][:2]


def test_a_config_of_a_version_is_a_dataset_with_all_it_came_from(hub: Hub, tmp_path: Path, one: Publication) -> None:
    published = publish(one)
    folder = Path(snapshot_download("org/x", repo_type="dataset", revision="v1"))
    pairs = open_dataset(folder / "pairs")
    assert faults(pairs) == []
    assert pairs.manifest.fingerprint == open_dataset(tmp_path / "pairs-a-b-c").manifest.fingerprint
    record = PublicationRecord.model_validate_json((folder / "sgpo/publication.json").read_bytes())
    assert [(config.name, config.table, config.rows) for config in record.configs] == [("pairs", "pairs", 3)]
    assert sorted(record.files) == sorted(file.path for file in one.files)
    assert published.reference == f"hf://datasets/org/x@{hub.repositories.find('org/x').tags['v1']}"
    texts = [path.read_text() for path in folder.rglob("*") if path.suffix in (".json", ".md")]
    assert not [text for text in texts if str(tmp_path) in text or OWNER in text]


def test_the_same_version_again_does_nothing(hub: Hub, one: Publication) -> None:
    first = publish(one)
    before = len(hub.log)
    again = publish(one)
    assert (again.commit, first.made_now, again.made_now) == (first.commit, True, False)
    assert {each.method for each in hub.log[before:] if "repos/create" not in each.path} == {"GET"}
    assert titles(hub) == ["Publish v1", "initial commit"]


def test_a_tag_that_holds_something_else_is_refused(hub: Hub, tmp_path: Path, one: Publication) -> None:
    publish(one)
    other = version("v1", pairs_of(tmp_path, "a", "z"))
    for refused in (publish, preview):
        with pytest.raises(DatasetError, match=r"org/x: v1 is published already, with other content \(pairs/part-00000.parquet and \d more"):
            refused(other)
    with pytest.raises(DatasetError, match=r"with other content \(README.md, commit"):
        publish(version("v1", open_dataset(tmp_path / "pairs-a-b-c"), license="mit"))
    assert contents(hub, "v1") == wanted(one)


def test_the_next_version_uploads_what_is_new_and_takes_away_what_was_its_own(hub: Hub, tmp_path: Path, one: Publication) -> None:
    publish(one)
    head = hub.repositories.find("org/x")
    hub.repositories.commit(head, "main", {"LICENSE": hub.repositories.storage.regular(b"mine")}, title="by hand")
    hub.log.clear()
    grown = version("v2", pairs_of(tmp_path, "a", "b"))
    told = {each.path: each.what for each in preview(grown).changes}
    assert {path for path, what in told.items() if what == "delete"} == {"pairs/part-00001.parquet"}
    publish(grown)
    assert len(hub.asked("PUT")) == 1
    assert contents(hub, "v2") == {**wanted(grown), "LICENSE": hub.repositories.storage.regular(b"mine").sha256}
    assert contents(hub, "v1") == wanted(one)


def test_a_dry_run_lists_every_file_and_changes_nothing(hub: Hub, one: Publication) -> None:
    told = preview(one).changes
    assert {each.path: each.bytes for each in told} == {file.path: file.size for file in one.files}
    assert {each.what for each in told} == {"upload"}
    assert hub.repositories.all == {}
    publish(one)
    assert {each.what for each in preview(one).changes} == {"keep"}


def test_a_repository_is_made_private_and_one_that_is_there_stays_as_it_is(hub: Hub, one: Publication, two: Publication) -> None:
    publish(one)
    repository = hub.repositories.find("org/x")
    assert repository.private
    publish(two, private=False)
    assert repository.private
    hub.repositories.set_private(repository, False)
    publish(version("v3", open_dataset(one.files[0].content.parent)))  # type: ignore[union-attr]
    assert not repository.private


def test_a_branch_is_made_for_it(hub: Hub, one: Publication) -> None:
    publish(one, branch="next/try")
    assert titles(hub) == ["initial commit"]
    assert contents(hub, "next/try") == contents(hub, "v1") == wanted(one)


ONE_FAULT = {
    "creation lost": Fault("reset", "POST", "repos/create", applied=True, times=1),
    "refs fail": Fault("status", "GET", "/refs", status=500, times=2),
    "card refused by a proxy": Fault("status", "POST", "validate-yaml", times=1),
    "upload cut": Fault("cut_upload", "PUT", times=1),
    "upload refused": Fault("status", "PUT", status=500, times=1),
    "upload lost": Fault("reset", "PUT", applied=True, times=1),
    "batch slowed": Fault("status", "POST", "objects/batch", status=429, headers={"Retry-After": "0"}, times=1),
    "commit cut": Fault("reset", "POST", COMMIT, times=1),
    "commit lost": Fault("reset", "POST", COMMIT, applied=True, times=1),
    "commit made and denied": Fault("status", "POST", COMMIT, status=500, applied=True, times=1),
    "commit slowed": Fault("status", "POST", COMMIT, status=429, headers={"Retry-After": "0"}, times=2),
    "commit busy": Fault("status", "POST", COMMIT, status=409, times=1),
    "tag cut": Fault("reset", "POST", "/tag/", times=1),
    "tag lost": Fault("reset", "POST", "/tag/", applied=True, times=1),
    "tag made and denied": Fault("status", "POST", "/tag/", status=502, applied=True, times=1),
    "tree cut": Fault("cut_download", "GET", "/tree/", times=1),
}


@pytest.mark.parametrize("name", ONE_FAULT)
def test_a_fault_on_the_way_leaves_one_commit_with_the_right_bytes(name: str, hub: Hub, one: Publication) -> None:
    hub.faults.add(ONE_FAULT[name])
    published = publish(one)
    assert hub.log.count(next(each for each in hub.log if each.fault)) >= 1
    assert titles(hub) == ["Publish v1", "initial commit"]
    assert contents(hub, published.commit) == contents(hub, "v1") == wanted(one)


def test_an_answer_that_never_comes_is_looked_for(hub: Hub, one: Publication, monkeypatch: pytest.MonkeyPatch) -> None:
    from sgpo_data.hub import client as ours

    monkeypatch.setattr(ours, "ANSWER_SECONDS", 0.5)
    ours.api.cache_clear()
    hub.faults.add(Fault("delay", "POST", COMMIT, seconds=1.0, times=1))
    publish(one)
    ours.api.cache_clear()
    assert titles(hub) == ["Publish v1", "initial commit"]


def test_a_commit_that_a_killed_publication_left_untagged_is_found_below_later_ones(hub: Hub, one: Publication) -> None:
    hub.faults.add(Fault("status", "POST", "/tag/", status=400))
    with pytest.raises(DatasetError, match="refuses this"):
        publish(one)
    hub.faults.clear()
    hub.repositories.commit(hub.repositories.find("org/x"), "main", {"README.md": None}, title="by hand")
    publish(one)
    assert titles(hub) == ["by hand", "Publish v1", "initial commit"]
    assert contents(hub, "v1") == wanted(one)


def test_another_writer_in_between_is_built_upon(hub: Hub, one: Publication) -> None:
    def write() -> None:
        hub.repositories.commit(hub.repositories.find("org/x"), "main", {"a.txt": hub.repositories.storage.regular(b"x")}, title="other")

    hub.faults.add(Fault("call", "POST", "objects/batch", times=1, call=write))
    publish(one)
    assert titles(hub) == ["Publish v1", "other", "initial commit"]
    assert len(contents(hub, "v1")) == len(one.files) + 1


def test_of_two_publishers_of_one_version_one_wins_and_the_other_is_told(hub: Hub, tmp_path: Path, one: Publication) -> None:
    other = version("v1", pairs_of(tmp_path, "y", "z"))
    hub.faults.add(Fault("call", "POST", COMMIT, times=1, call=lambda: publish(other)))
    with pytest.raises(DatasetError, match="v1 is published already, with other content"):
        publish(one)
    assert titles(hub) == ["Publish v1", "initial commit"]
    assert contents(hub, "v1") == wanted(other)


def test_a_publisher_that_has_committed_and_not_tagged_yet_wins_too(hub: Hub, tmp_path: Path, one: Publication) -> None:
    other = version("v1", pairs_of(tmp_path, "y", "z"))
    tagging: list[str] = []

    def rival() -> None:
        hub.faults.add(Fault("status", "POST", "/tag/", status=400, times=1))
        with pytest.raises(DatasetError, match="refuses this"):
            publish(other)
        tagging.append("later")

    hub.faults.add(Fault("call", "POST", COMMIT, times=1, call=rival))
    with pytest.raises(DatasetError, match="somebody else is publishing v1"):
        publish(one)
    publish(other)
    assert titles(hub) == ["Publish v1", "initial commit"]
    assert contents(hub, "v1") == wanted(other)


def test_two_publishers_of_the_same_content_make_one_commit(hub: Hub, one: Publication) -> None:
    hub.faults.add(Fault("call", "POST", COMMIT, times=1, call=lambda: publish(one)))
    assert publish(one).commit == hub.repositories.find("org/x").tags["v1"]
    assert titles(hub) == ["Publish v1", "initial commit"]


def test_of_publishers_at_the_same_time_one_wins_and_each_other_is_told(hub: Hub, tmp_path: Path) -> None:
    rivals = [version("v1", pairs_of(tmp_path, *names)) for names in ("ab", "cd", "ef")]
    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(publish, rival) for rival in rivals]
    won = [rival for rival, each in zip(rivals, done, strict=True) if each.exception() is None]
    told = [str(each.exception()) for each in done if each.exception() is not None]
    assert len(won) == 1
    assert all("is published already, with other content" in each or "somebody else is publishing v1" in each for each in told)
    assert contents(hub, "v1") == wanted(won[0])


def test_a_hub_that_is_killed_and_comes_back_in_between_is_published_to(hub: Hub, one: Publication) -> None:
    def comes_back() -> None:
        SERVER.hub = Hub(hub.folder, hub.url)

    hub.faults.add(Fault("call", "POST", COMMIT, applied=True, times=1, call=comes_back))
    publish(one)
    assert SERVER.hub is not None
    assert SERVER.hub is not hub
    assert titles(SERVER.hub) == ["Publish v1", "initial commit"]
    assert contents(SERVER.hub, "v1") == wanted(one)


def test_a_head_that_always_moves_ends_in_one_line(hub: Hub, one: Publication) -> None:
    hub.faults.add(Fault("status", "POST", COMMIT, status=412))
    with pytest.raises(HubError, match="main moved at each of 8 attempts"):
        publish(one)


def test_what_the_hub_stored_otherwise_is_not_tagged(hub: Hub, one: Publication, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_id = one.id
    damaged = Publication("org/x", "v1", tuple(file for file in one.files if "part-00000" not in file.path))
    monkeypatch.setattr(Publication, "id", publish_id)
    hub.faults.add(Fault("status", "POST", "/tag/", status=400, times=1))
    with pytest.raises(DatasetError):
        publish(damaged)
    with pytest.raises(HubError, match=r"has pairs/part-00000.parquet otherwise than it was sent \(1 files\); run the same command again"):
        publish(one)
    assert hub.repositories.find("org/x").tags == {}


def run(*arguments: str) -> tuple[int, str, str]:
    ran = CliRunner().invoke(app, ["publish", *arguments])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    assert not any(token in ran.stdout + ran.stderr for token in USERS)
    return ran.exit_code, ran.stdout, ran.stderr


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    return str(pairs_of(tmp_path, "a", "b", "c").folder)


def test_the_command_prints_the_reference_last(hub: Hub, pairs: str) -> None:
    code, out, err = run(pairs, "org/x", "--tag", "v1")
    assert (code, out) == (0, f"hf://datasets/org/x@{hub.repositories.find('org/x').tags['v1']}\n")
    assert "org/x: v1 is published" in err
    code, out, _ = run(pairs, "org/x", "--tag", "v1", "--json")
    summary = json.loads(out)
    assert (summary["tag"], summary["made_now"], summary["files"]) == ("v1", False, 6)
    code, out, err = run(f"mine={pairs}", pairs, "org/x", "--tag", "v2", "--dry-run", "--license", "mit")
    assert code == 0
    assert [line.split()[::2] for line in out.splitlines()][:2] == [["keep", "mine/part-00000.parquet"], ["keep", "mine/part-00001.parquet"]]
    assert "bytes to upload; nothing was changed" in err


def test_each_login_that_may_not_publish_is_told_what_to_do(hub: Hub, pairs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(pairs, "org/there", "--tag", "v1")[0] == 0
    cases = [
        (READER, "org/there", "v2", "this login may not do that (403); get a token that can write there, then run: hf auth login"),
        (READER, "org/new", "v1", "this login may not do that (403)"),
        (STRANGER, "org/there", "v2", "this login may not do that (403)"),
        ("hf_gone", "org/there", "v2", "no login, or one that the Hub does not know (401); run: hf auth login"),
        (None, "org/there", "v2", "no login, or one that the Hub does not know (401); run: hf auth login"),
        (None, "org/new", "v1", "run: hf auth login"),
    ]
    for token, repository, tag, words in cases:
        monkeypatch.delenv("HF_TOKEN") if token is None else monkeypatch.setenv("HF_TOKEN", token)
        code, out, err = run(pairs, repository, "--tag", tag)
        assert (code, out) == (1, "")
        assert err.splitlines()[-1].startswith(f"{repository}: ")
        assert words in err.splitlines()[-1]
        monkeypatch.setenv("HF_TOKEN", OWNER)


def test_a_hub_that_is_down_or_not_to_be_asked_is_exit_code_4(hub: Hub, pairs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    hub.faults.add(Fault("status", status=503))
    code, _, err = run(pairs, "org/x", "--tag", "v1")
    assert (code, err.splitlines()[-1]) == (4, "org/x: the Hub answered 503; try again later")
    hub.faults.clear()
    hub.faults.add(Fault("reset"))
    code, _, err = run(pairs, "org/x", "--tag", "v1")
    assert code == 4
    assert "org/x: the Hub cannot be reached" in err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.log)
    code, _, err = run(pairs, "org/x", "--tag", "v1")
    assert (code, err.splitlines()) == (4, ["org/x: HF_HUB_OFFLINE is set, so the Hub is not asked; unset it to go on"])
    assert len(hub.log) == asked


@pytest.mark.parametrize("command", [["--dry-run"], ["--dry-run", "--json"]])
def test_a_dry_run_offline_lists_every_file_and_still_refuses_secrets(
    hub: Hub, tmp_path: Path, pairs: str, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    from huggingface_hub import constants

    _, out, _ = run(pairs, "org/x", "--tag", "v1", "--dry-run", "--json")
    online = [(each["path"], each["bytes"]) for each in json.loads(out)]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.log)
    code, out, err = run(pairs, "org/x", "--tag", "v1", *command)
    assert code == 0
    if "--json" in command:
        assert [(each["path"], each["bytes"], each["what"]) for each in json.loads(out)] == [(*each, "unknown") for each in online]
    else:
        assert [tuple(line.split()) for line in out.splitlines()] == [("unknown", str(size), path) for path, size in online]
        total = sum(size for _, size in online)
        assert err.splitlines() == [
            "org/x: HF_HUB_OFFLINE is set, so the Hub is not asked; the files listed and their bytes are those of the version; "
            "which of them the Hub has already, and whether v1 is taken, is unknown",
            f"at most {total} of {total} bytes to upload; nothing was changed",
        ]
    assert "README.md" in dict(online)
    secret = made_dataset(
        tmp_path / "secret", "pairs", [{**pair_row("s"), "chosen": [{"role": "assistant", "content": "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3f"}]}]
    )
    assert run(str(secret.folder), "org/x", "--tag", "v1", *command)[0] == 3
    assert len(hub.log) == asked


def test_what_can_not_be_a_version_is_refused_before_the_hub_is_asked(hub: Hub, tmp_path: Path, pairs: str) -> None:
    empty = made_dataset(tmp_path / "empty", "pairs", [])
    broken = pairs_of(tmp_path, "k", "l")
    record = broken.manifest.files[0]
    assert isinstance(record, FileRecord)
    part = broken.folder / record.name
    part.write_bytes(part.read_bytes()[:-1] + b"X")
    cases = [
        ([pairs, "--tag", "v1"], 2, "the last argument is the repository, as org/name"),
        (["org/x", "--tag", "v1"], 2, "name the datasets before the repository, or a run with --run"),
        ([pairs, pairs, "org/x", "--tag", "v1"], 2, "would be this config; name one: NAME=REF"),
        ([f"sgpo={pairs}", "org/x", "--tag", "v1"], 2, "give the config another name"),
        ([pairs, "org/x", "--tag", "0123abc"], 2, "is no name of a version"),
        ([str(empty.folder), "org/x", "--tag", "v1"], 1, "has no rows"),
        ([str(broken.folder), "org/x", "--tag", "v1"], 1, "SHA-256 is"),
        ([str(tmp_path / "gone"), "org/x", "--tag", "v1"], 1, "no such dataset"),
        (["--run", "gone", "org/x", "--tag", "v1", "--root", str(tmp_path)], 1, "no such run"),
    ]
    for arguments, code, words in cases:
        found, _, err = run(*arguments)
        assert (found, len(err.splitlines())) == (code, 1), err
        assert words in err
    assert hub.log == []


@pytest.mark.parametrize("tag", ["v 1", "", "a..b", "x.lock", "0" * 40, "-x"])
def test_a_name_that_is_no_version_is_refused(tag: str) -> None:
    with pytest.raises(UsageError, match="is no name of a version"):
        checked_tag(tag)


def test_a_run_is_published_by_the_widest_tables_of_its_last_round_with_its_recipe(hub: Hub, tmp_path: Path) -> None:
    answers = {table: [row("a")] for table in ("responses", "scored", "filtered")}
    made_run(tmp_path, {"policy-1": {**answers, "pairs": [pair_row("a")]}, "old-1": {"pairs": [pair_row("b")]}}, name="mine")
    links = ["old-1/pairs", *(f"policy-1/{name}" for name in (*answers, "pairs", "model"))]
    planned(tmp_path / "mine", links)
    (tmp_path / "mine" / "recipe.toml").write_text("seed = 0\n")
    assert run("--run", "mine", "org/x", "--tag", "v1", "--root", str(tmp_path))[0] == 0
    parts = [f"{table}/{name}" for table in ("filtered", "pairs") for name in ("manifest.json", "part-00000.parquet")]
    assert sorted(contents(hub, "v1")) == ["README.md", *parts, "sgpo/lineage.json", "sgpo/publication.json", "sgpo/recipe.toml"]
    record = PublicationRecord.model_validate_json(hub.repositories.storage.get(contents(hub, "v1")["sgpo/publication.json"]))
    assert [config.name for config in record.configs] == ["pairs", "filtered"]
    planned(tmp_path / "mine", [*links, "policy-2/responses"])
    code, _, err = run("--run", "mine", "org/x", "--tag", "v2", "--root", str(tmp_path))
    assert (code, "policy-2: responses not made yet; run the recipe again" in err) == (1, True)


@pytest.mark.parametrize("table", tables())
def test_the_card_describes_columns_as_datasets_does(table: str) -> None:
    datasets = pytest.importorskip("datasets")
    arrow = schema(table).arrow
    assert features(arrow) == datasets.Features.from_arrow_schema(arrow)._to_yaml_list()
