"""A place on the Hub is a reference: fetched once at a commit, verified, and the same whatever its branch does afterwards."""

import json
from pathlib import Path

import polars as pl
import pytest
from hub_answers import READER, STRANGER
from hub_faults import Fault
from hub_server import Hub
from huggingface_hub import CommitOperationAdd, HfApi
from literal_rows import pair_row, row
from made import made_dataset
from sgpo_data.cli.main import app
from typer.testing import CliRunner

import sgpo_data
from sgpo_data.errors import DatasetError, HubError, UsageError
from sgpo_data.names import HubPlace, hub_place
from sgpo_data.publishing.card import Config
from sgpo_data.publishing.publication import publication
from sgpo_data.publishing.publish import publish
from sgpo_data.references.dataset import find_dataset, find_readable
from sgpo_data.store.dataset import WORK, Dataset

ROWS = [row(name) for name in "abcde"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def put(dataset: Dataset, path: str = "filtered", *, branch: str = "main") -> str:
    """The commit on which the files of the dataset lie at this path."""
    api = HfApi()
    api.create_repo("org/x", repo_type="dataset", private=True, exist_ok=True)
    files = [*dataset.paths, dataset.folder / "manifest.json"]
    operations = [CommitOperationAdd(f"{path}/{file.name}", file) for file in files]
    return str(api.create_commit("org/x", operations, commit_message="m", repo_type="dataset", revision=branch).oid)


def sgpo(*arguments: str, **given: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments), **given)  # type: ignore[arg-type]
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("hf://datasets/org/x", HubPlace("org/x", None, "")),
        ("hf://datasets/org/x@v1/pairs", HubPlace("org/x", "v1", "pairs")),
        ("hf://datasets/org/x@feature%2Fy/a/b/", HubPlace("org/x", "feature/y", "a/b")),
        ("hf://datasets/org/x@refs/pr/3/a", HubPlace("org/x", "refs/pr/3", "a")),
        ("runs/store/pairs@12345678", None),
        ("org/x", None),
    ],
)
def test_a_place_is_read_as_the_hubs_own_paths_are(written: str, place: HubPlace | None) -> None:
    assert hub_place(written) == place


@pytest.mark.parametrize("written", ["hf://org/x", "hf://datasets/x", "hf://datasets/org/x@/pairs", "hf://datasets/org/x@v1/../secret", "hf://models/org/x"])
def test_what_can_not_be_meant_is_said_with_what_to_write(written: str) -> None:
    with pytest.raises(UsageError, match="write hf://datasets/org/name@revision/path"):
        hub_place(written)


def test_a_dataset_is_fetched_once_and_then_read_without_the_hub(hub: Hub, tmp_path: Path) -> None:
    made = made_dataset(tmp_path / "made", "filtered", ROWS)
    commit = put(made)
    found = find_dataset("hf://datasets/org/x/filtered", tmp_path)
    assert found is not None
    assert found.reference == f"hf://datasets/org/x@{commit}/filtered"
    assert found.manifest == made.manifest
    assert list(found.rows()) == list(made.rows())
    assert not (found.folder / WORK).exists()
    before = len(hub.log)
    again = find_dataset(found.reference, tmp_path)
    assert again == found
    assert len(hub.log) == before


def test_a_branch_that_moves_between_two_stages_changes_nothing(hub: Hub, tmp_path: Path) -> None:
    put(made_dataset(tmp_path / "one", "filtered", ROWS))
    code, out, _ = sgpo("pair", "hf://datasets/org/x@main/filtered", "--root", str(tmp_path / "runs"))
    assert code == 0
    first = find_dataset("hf://datasets/org/x@main/filtered", tmp_path / "runs")
    put(made_dataset(tmp_path / "other", "filtered", ROWS[:2]))
    assert first is not None
    manifest = json.loads((Path(out.strip()) / "manifest.json").read_text())
    assert manifest["identity"]["inputs"][0]["reference"] == first.reference
    again = find_dataset(first.reference, tmp_path / "runs")
    assert again is not None
    assert again.manifest.rows == 5
    moved = find_dataset("hf://datasets/org/x@main/filtered", tmp_path / "runs")
    assert moved is not None
    assert moved.manifest.rows == 2


def test_what_a_broken_off_fetch_left_is_taken_up(hub: Hub, tmp_path: Path) -> None:
    put(made_dataset(tmp_path / "made", "filtered", ROWS))
    hub.faults.add(Fault("status", "", "part-00002", status=403))
    with pytest.raises(DatasetError, match="may not do that"):
        find_dataset("hf://datasets/org/x/filtered", tmp_path)
    (left,) = (tmp_path / "store").iterdir()
    assert not (left / "manifest.json").exists()
    with pytest.raises(DatasetError, match="never finished"):
        find_dataset(str(left), tmp_path)
    hub.faults.clear()
    before = len(hub.log)
    found = find_dataset("hf://datasets/org/x/filtered", tmp_path)
    assert found is not None
    assert found.manifest.rows == 5
    assert not [each for each in hub.log[before:] if "part-00000" in each.path]


def test_a_flipped_byte_is_found_and_fetched_again_once(hub: Hub, tmp_path: Path) -> None:
    put(made_dataset(tmp_path / "made", "filtered", ROWS))
    hub.faults.add(Fault("flip", "GET", "/content/", times=1))
    found = find_dataset("hf://datasets/org/x/filtered", tmp_path)
    assert found is not None
    assert [each["prompt_id"] for each in found.rows()] == [each["prompt_id"] for each in ROWS]
    hub.faults.add(Fault("flip", "GET", "/content/"))
    with pytest.raises(HubError, match="comes damaged from the Hub"):
        find_dataset("hf://datasets/org/x/filtered", tmp_path / "elsewhere")


def test_sql_inspect_check_and_python_take_a_place(hub: Hub, tmp_path: Path) -> None:
    commit = put(made_dataset(tmp_path / "made", "filtered", ROWS))
    place, root = "hf://datasets/org/x@main/filtered", str(tmp_path / "runs")
    assert sgpo("sql", "SELECT count(*) AS rows FROM filtered", place, "--root", root, "--format", "csv")[:2] == (0, "rows\n5\n")
    assert commit in sgpo("inspect", place, "--root", root)[1]
    assert "whole: 5 rows of filtered" in sgpo("check", place, "--root", root)[1]
    assert sgpo_data.scan(place, root=root).select(pl.len()).collect().item() == 5


def test_sql_sees_all_datasets_of_a_published_version(hub: Hub, tmp_path: Path) -> None:
    filtered = made_dataset(tmp_path / "filtered", "filtered", ROWS)
    pairs = made_dataset(tmp_path / "pairs", "pairs", [pair_row("a")])
    publish(publication([Config("pairs", pairs), Config("kept", filtered)], "org/x", tag="v1", license=None, root=tmp_path))
    query = "SELECT count(*) AS rows FROM pairs JOIN filtered USING (prompt_id)"
    assert sgpo("sql", query, "hf://datasets/org/x@v1", "--root", str(tmp_path / "runs"), "--format", "csv")[:2] == (0, "rows\n1\n")
    code, _, err = sgpo("inspect", "hf://datasets/org/x@v1", "--root", str(tmp_path / "runs"))
    assert code == 1
    assert "holds 2 datasets; name one: hf://datasets/org/x@v1/pairs, hf://datasets/org/x@v1/kept" in err


def test_a_streamed_input_is_read_where_it_lies_and_gives_the_same(hub: Hub, tmp_path: Path) -> None:
    put(made_dataset(tmp_path / "made", "filtered", ROWS))
    place = "hf://datasets/org/x@main/filtered"
    code, _, err = sgpo("pair", place, "--stream", "-o", str(tmp_path / "streamed"), "--root", str(tmp_path / "a"))
    assert code == 0, err
    assert not list((tmp_path / "a").glob("store/hub@*"))
    assert sgpo("pair", place, "-o", str(tmp_path / "fetched"), "--root", str(tmp_path / "b"))[0] == 0
    files = [{file.name: file.read_bytes() for file in (tmp_path / each).glob("*.parquet")} for each in ("streamed", "fetched")]
    assert files[0] == files[1]
    streamed = find_readable(place, tmp_path / "a", stream=True)
    assert streamed is not None
    assert [each["prompt_id"] for each in streamed.rows()] == [each["prompt_id"] for each in ROWS]
    assert streamed.scan().select("prompt_id").collect().height == 5


def test_a_flipped_byte_in_a_stream_is_found(hub: Hub, tmp_path: Path) -> None:
    put(made_dataset(tmp_path / "made", "filtered", ROWS))
    streamed = find_readable("hf://datasets/org/x/filtered", tmp_path, stream=True)
    assert streamed is not None
    hub.faults.add(Fault("flip", "GET", "/content/"))
    with pytest.raises(HubError, match="comes damaged"):
        list(streamed.rows())


@pytest.mark.parametrize(
    ("place", "code", "told"),
    [
        ("hf://datasets/org/gone/filtered", 1, "no such dataset on the Hub, or no access to it"),
        ("hf://datasets/org/x@v9/filtered", 1, "no revision v9"),
        ("hf://datasets/org/x/nothing", 1, "no such dataset"),
        (f"hf://datasets/org/x@{COMMIT}/filtered", 1, "no revision"),
        ("hf://datasets/x", 2, "write hf://datasets/org/name@revision/path"),
    ],
)
def test_what_is_not_there_is_one_line(hub: Hub, tmp_path: Path, place: str, code: int, told: str) -> None:
    put(made_dataset(tmp_path / "made", "filtered", ROWS))
    found = sgpo("inspect", place, "--root", str(tmp_path))
    assert found[0] == code
    assert told in found[2]
    assert found[2].count("\n") == 1


def test_a_stranger_sees_nothing_and_a_hub_that_is_down_is_worth_another_try(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(made_dataset(tmp_path / "made", "filtered", ROWS))
    monkeypatch.setenv("HF_TOKEN", STRANGER)
    assert sgpo("inspect", "hf://datasets/org/x/filtered", "--root", str(tmp_path))[0] == 1
    hub.faults.add(Fault("status", "", "", status=503))
    assert sgpo("inspect", "hf://datasets/org/x/filtered", "--root", str(tmp_path))[0] == 4


def titles(branch: str = "main") -> list[str]:
    return [commit.title for commit in HfApi().list_repo_commits("org/x", repo_type="dataset", revision=branch)]


def test_a_stage_writes_onto_a_branch_in_one_commit_and_prints_it(hub: Hub, tmp_path: Path) -> None:
    commit = put(made_dataset(tmp_path / "made", "filtered", ROWS))
    code, out, err = sgpo("pair", "hf://datasets/org/x@main/filtered", "-o", "hf://datasets/org/x@main/pairs", "--root", str(tmp_path / "runs"))
    assert code == 0, err
    assert len(titles()) == 3
    made = find_dataset(out.strip(), tmp_path / "elsewhere")
    assert made is not None
    assert made.manifest.rows == 5
    assert made.manifest.identity.inputs[0].reference == f"hf://datasets/org/x@{commit}/filtered"
    assert str(tmp_path) not in (made.folder / "manifest.json").read_text()


def test_a_branch_that_holds_the_same_fingerprint_is_done_without_making_it_again(hub: Hub, tmp_path: Path) -> None:
    put(made_dataset(tmp_path / "made", "filtered", ROWS))
    command = ("pair", "hf://datasets/org/x@main/filtered", "-o", "hf://datasets/org/x@work%2F1/pairs", "--root")
    first, second = sgpo(*command, str(tmp_path / "a")), sgpo(*command, str(tmp_path / "b"))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert first[1] == second[1]
    assert len(titles("work/1")) == 3
    assert not list((tmp_path / "b").glob("store/pairs@*"))


def test_a_lost_answer_makes_no_second_commit(hub: Hub, tmp_path: Path) -> None:
    put(made_dataset(tmp_path / "made", "filtered", ROWS))
    hub.faults.add(Fault("reset", "POST", "/commit/", applied=True, times=1))
    code, _, err = sgpo("pair", "hf://datasets/org/x@main/filtered", "-o", "hf://datasets/org/x@main/pairs", "--root", str(tmp_path / "runs"))
    assert code == 0, err
    assert len(titles()) == 3


def test_another_dataset_takes_its_place_and_the_old_one_stays_at_its_commit(hub: Hub, tmp_path: Path) -> None:
    put(made_dataset(tmp_path / "made", "filtered", ROWS))
    command = ("pair", "hf://datasets/org/x@main/filtered", "-o", "hf://datasets/org/x/pairs", "--root", str(tmp_path / "runs"))
    old = sgpo(*command)[1].strip()
    code, new, err = sgpo(*command, "--limit", "2")
    assert code == 0, err
    assert f"stays at {old}" in err
    found = [find_dataset(each, tmp_path / "elsewhere") for each in (old, new.strip())]
    assert [each.manifest.rows for each in found if each is not None] == [5, 2]


@pytest.mark.parametrize(
    ("out", "code", "told"),
    [
        ("hf://datasets/org/x@main", 2, "name a folder"),
        (f"hf://datasets/org/x@{COMMIT}/pairs", 2, "cannot be written to; name a branch"),
        ("hf://datasets/org/x@v1/pairs", 1, "is a tag"),
    ],
)
def test_what_can_not_be_written_to_is_refused_before_anything_is_made(hub: Hub, tmp_path: Path, out: str, code: int, told: str) -> None:
    commit = put(made_dataset(tmp_path / "made", "filtered", ROWS))
    HfApi().create_tag("org/x", repo_type="dataset", tag="v1", revision=commit)
    found = sgpo("pair", "hf://datasets/org/x@main/filtered", "-o", out, "--root", str(tmp_path / "runs"))
    assert (found[0], told in found[2]) == (code, True), found
    assert not list((tmp_path / "runs").glob("store/pairs@*"))


def test_a_login_that_may_only_read_is_told_so_and_what_was_made_is_kept(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(made_dataset(tmp_path / "made", "filtered", ROWS))
    monkeypatch.setenv("HF_TOKEN", READER)
    found = sgpo("pair", "hf://datasets/org/x@main/filtered", "-o", "hf://datasets/org/x/pairs", "--root", str(tmp_path / "runs"))
    assert found[0] == 1
    assert "get a token that can write there" in found[2]
    assert READER not in found[2]


def test_a_repository_is_made_only_where_there_is_none_not_where_it_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(Fault("status", "GET", r"/datasets/org/new/refs", status=403, times=1))
    made_dataset(tmp_path / "made", "filtered", ROWS)
    found = sgpo("pair", str(tmp_path / "made"), "-o", "hf://datasets/org/new/pairs", "--root", str(tmp_path / "runs"))
    assert (found[0], "(403)" in found[2]) == (1, True), found
    assert not HfApi().repo_exists("org/new", repo_type="dataset")
