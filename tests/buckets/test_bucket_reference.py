"""A place in a bucket is a reference: fetched and verified, or read where it lies, and the same as the folder it was put there from."""

import json
from pathlib import Path

import polars as pl
import pytest
from bucket_server import BUCKET, BucketServer
from literal_rows import pair_row, row
from made import made_dataset
from sgpo_data.cli.main import app
from tiny_model import write_model
from typer.testing import CliRunner

import sgpo_data
from sgpo_data.errors import DatasetError, StorageError, UsageError
from sgpo_data.names import BucketPlace, bucket_place
from sgpo_data.references.dataset import find_dataset, find_readable
from sgpo_data.store.dataset import WORK, Dataset, open_dataset

ROWS = [row(name) for name in "abcde"]
AT = f"s3://{BUCKET}/some/filtered"


def put(bucket: BucketServer, dataset: Dataset, path: str = "some/filtered") -> None:
    for file in (*dataset.paths, dataset.folder / "manifest.json"):
        bucket.put(f"{path}/{file.name}", file.read_bytes())


def sgpo(*arguments: str, **given: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments), **given)  # type: ignore[arg-type]
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("s3://bucket", BucketPlace("bucket", "")),
        ("s3://my.bucket-1/a b/c=1/", BucketPlace("my.bucket-1", "a b/c=1")),
        ("runs/store/pairs@12345678", None),
        ("hf://datasets/org/x", None),
    ],
)
def test_a_place_is_read_as_the_tools_of_aws_write_it(written: str, place: BucketPlace | None) -> None:
    assert bucket_place(written) == place


@pytest.mark.parametrize("written", ["s3://", "s3://B/x", "s3://bucket//x", "s3://bucket/a/../b", "s3://bucket/x?versionId=3"])
def test_what_can_not_be_meant_is_said_with_what_to_write(written: str) -> None:
    with pytest.raises(UsageError, match="write s3://bucket/path"):
        bucket_place(written)


def test_a_dataset_is_fetched_once_verified_and_the_same(bucket: BucketServer, tmp_path: Path) -> None:
    made = made_dataset(tmp_path / "made", "filtered", ROWS)
    put(bucket, made)
    found = find_dataset(AT, tmp_path)
    assert found is not None
    assert (found.reference, found.manifest) == (AT, made.manifest)
    assert list(found.rows()) == list(made.rows())
    assert not (found.folder / WORK).exists()
    before = len(bucket.buckets.log)
    assert find_dataset(AT, tmp_path) == found
    assert [path.rpartition("/")[2] for _, path in bucket.buckets.log[before:]] == ["manifest.json"]


def test_what_takes_its_place_is_seen(bucket: BucketServer, tmp_path: Path) -> None:
    put(bucket, made_dataset(tmp_path / "one", "filtered", ROWS))
    assert sgpo_data.scan(AT, root=tmp_path).collect().height == 5
    put(bucket, made_dataset(tmp_path / "two", "filtered", ROWS[:2]))
    assert sgpo_data.scan(AT, root=tmp_path).collect().height == 2


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("check", AT), "5 rows"),
        (("inspect", AT), "5 from 5 in"),
        (("sql", "SELECT count(*) FROM filtered", AT), "5"),
        (("sql", "SELECT count(*) FROM x", f"x={AT}"), "5"),
        (("diff", AT, AT), "filtered"),
    ],
)
def test_commands_take_a_place_in_a_bucket(bucket: BucketServer, tmp_path: Path, command: tuple[str, ...], says: str) -> None:
    put(bucket, made_dataset(tmp_path / "made", "filtered", ROWS))
    code, out, err = sgpo(*command, "--root", str(tmp_path / "runs"))
    assert code == 0, err
    assert says in out + err


def test_stages_chain_over_a_bucket_as_over_a_folder(bucket: BucketServer, tmp_path: Path) -> None:
    made = made_dataset(tmp_path / "made", "filtered", ROWS)
    put(bucket, made)
    for place, out, how in ((str(made.folder), "local", ()), (AT, "fetched", ()), (AT, "streamed", ("--stream",))):
        code, _, err = sgpo("pair", place, "-o", str(tmp_path / out), "--root", str(tmp_path / f"root-{out}"), *how)
        assert code == 0, err
    files = [{file.name: file.read_bytes() for file in (tmp_path / each).glob("*.parquet")} for each in ("local", "fetched", "streamed")]
    assert files[0] == files[1] == files[2]
    manifest = json.loads((tmp_path / "streamed" / "manifest.json").read_text())
    assert manifest["identity"]["inputs"][0]["reference"] == AT
    assert not list((tmp_path / "root-streamed").glob("store/bucket@*"))


def test_a_streamed_dataset_reads_as_the_folder(bucket: BucketServer, tmp_path: Path) -> None:
    made = made_dataset(tmp_path / "made", "filtered", ROWS)
    put(bucket, made)
    streamed = find_readable(AT, tmp_path, stream=True)
    assert streamed is not None
    assert list(streamed.rows()) == list(made.rows())
    assert streamed.scan().select("prompt_id").collect()["prompt_id"].to_list() == [each["prompt_id"] for each in ROWS]


def test_a_filter_that_streams_puts_its_decisions_beside_parts_that_it_fetches_one_by_one(bucket: BucketServer, tmp_path: Path) -> None:
    made = made_dataset(tmp_path / "made", "scored", [row(f"{at:05}") for at in range(5000)], part_rows=2048)
    put(bucket, made, "some/scored")
    at = AT.replace("filtered", "scored")
    assert sgpo("filter", at, "--stream", "-o", str(tmp_path / "streamed"), "--root", str(tmp_path / "a"))[0] == 0
    assert sgpo("filter", str(made.folder), "-o", str(tmp_path / "local"), "--root", str(tmp_path / "b"))[0] == 0
    files = [{file.name: file.read_bytes() for file in (tmp_path / each).glob("*.parquet")} for each in ("streamed", "local")]
    assert files[0] == files[1]
    assert not list((tmp_path / "a").rglob("part-*"))


def test_lint_reads_pairs_in_a_bucket(bucket: BucketServer, tmp_path: Path) -> None:
    put(bucket, made_dataset(tmp_path / "made", "pairs", [pair_row(name) for name in "abc"]), "pairs")
    code, out, err = sgpo("lint", f"s3://{BUCKET}/pairs", "--root", str(tmp_path))
    assert code == 0, err
    assert open_dataset(Path(out.split("\n")[-2])).manifest.rows == 3


def test_raw_rows_give_the_prompts_of_the_local_file(bucket: BucketServer, tmp_path: Path) -> None:
    from sgpo_data.execution import Execution
    from sgpo_data.sources.options import Source
    from sgpo_data.sources.prompts import read_prompts

    folder = tmp_path / "raw"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.jsonl", "sub/b.jsonl")):
        lines = "".join(json.dumps({"prompt": f"what is {number} and {i}?", "response": "that"}) + "\n" for i in range(4))
        (folder / name).write_text(lines)
        bucket.put(f"raw/{name}", lines.encode())
    bucket.put("raw/weights.bin", b"\0" * 100)
    how = Execution(root=tmp_path / "runs")
    for local, there in ((str(folder), f"s3://{BUCKET}/raw"), (str(folder / "a.jsonl"), f"s3://{BUCKET}/raw/a.jsonl")):
        mine, theirs = read_prompts(local, Source(), how), read_prompts(there, Source(), Execution(root=tmp_path / "other"))
        assert theirs.manifest.fingerprint == mine.manifest.fingerprint
        assert list(theirs.rows()) == list(mine.rows())
    assert not list((tmp_path / "other" / "store").rglob("weights.bin"))
    before = len(bucket.buckets.log)
    read_prompts(f"s3://{BUCKET}/raw", Source(), Execution(root=tmp_path / "other"))
    assert not [path for method, path in bucket.buckets.log[before:] if method == "GET" and path.endswith(".jsonl")]


def test_sql_reads_a_file_in_a_bucket(bucket: BucketServer, tmp_path: Path) -> None:
    pl.DataFrame({"x": [1, 2, 3]}).write_parquet(tmp_path / "n.parquet")
    bucket.put("n.parquet", (tmp_path / "n.parquet").read_bytes())
    assert sgpo_data.sql("SELECT sum(x) FROM n", f"s3://{BUCKET}/n.parquet", root=tmp_path / "runs").fetchall() == [(6,)]


def test_a_part_that_is_not_what_the_manifest_says_is_never_read(bucket: BucketServer, tmp_path: Path) -> None:
    made = made_dataset(tmp_path / "made", "filtered", ROWS)
    put(bucket, made)
    content = bytearray(made.paths[1].read_bytes())
    content[len(content) // 3] ^= 1
    bucket.put("some/filtered/part-00001.parquet", bytes(content))
    with pytest.raises(StorageError, match=r"part-00001\.parquet: is not what manifest\.json says"):
        find_dataset(AT, tmp_path)
    assert sgpo("check", AT, "--root", str(tmp_path))[0] == 4
    bucket.put("some/filtered/part-00001.parquet", b"short")
    with pytest.raises(DatasetError, match=r"part-00001\.parquet has 5 bytes"):
        find_readable(AT, tmp_path, stream=True)
    bucket.client.delete_object(Bucket=BUCKET, Key="some/filtered/part-00001.parquet")
    with pytest.raises(DatasetError, match=r"part-00001\.parquet is gone"):
        find_readable(AT, tmp_path, stream=True)
    with pytest.raises(DatasetError, match=r"part-00001\.parquet: no such bucket or file"):
        find_dataset(AT, tmp_path)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        (f"s3://{BUCKET}/nothing", "no dataset there"),
        ("s3://no-such-bucket/x", "no dataset there"),
    ],
)
def test_what_is_not_there_is_one_line(bucket: BucketServer, tmp_path: Path, reference: str, says: str) -> None:
    code, _, err = sgpo("inspect", reference, "--root", str(tmp_path))
    assert code == 1
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_without_credentials_one_line_says_which_variables_to_set(bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    code, _, err = sgpo("inspect", AT, "--root", str(tmp_path))
    assert code == 1
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in err


def test_without_the_extra_one_line_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sgpo_data.buckets.client import bucket_files

    bucket_files.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    code, _, err = sgpo("inspect", AT, "--root", str(tmp_path))
    assert code == 1
    assert err.strip() == "s3fs is not installed; run: pip install 'sgpo-data[s3]'"


def test_a_server_that_is_down_is_worth_trying_again(bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    code, _, err = sgpo("inspect", AT, "--root", str(tmp_path))
    assert code == 4
    assert "try again later" in err


def test_further_sources_and_evaluation_sets_may_lie_in_a_bucket(bucket: BucketServer, tmp_path: Path) -> None:
    from sgpo_data.execution import Execution
    from sgpo_data.sources.options import Source
    from sgpo_data.sources.prompts import read_prompts

    texts = {name: json.dumps({"prompt": f"tell me everything that you know about the history of {name} in ten words", "response": "x"}) for name in "ab"}
    for name, text in texts.items():
        (tmp_path / f"{name}.jsonl").write_text(text)
        bucket.put(f"{name}.jsonl", text.encode())

    def read(at: str) -> tuple[str, list[tuple[str, object]]]:
        source = Source(more=(f"{at}/b.jsonl",), decontaminate=(f"{at}/b.jsonl",))
        found = read_prompts(f"{at}/a.jsonl", source, Execution(root=tmp_path / at.replace("/", "-")))
        return found.manifest.fingerprint, [(each["source"], each["contaminated_by"]) for each in found.rows()]

    assert read(f"s3://{BUCKET}") == read(str(tmp_path))


def test_a_recipe_takes_its_prompts_from_a_bucket(bucket: BucketServer, tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    bucket.put("p.jsonl", b"".join(json.dumps({"prompt": f"{number}?", "response": "x"}).encode() + b"\n" for number in range(7)))
    recipe = f'model = "model"\n[[phases]]\nname = "one"\nsource.path = "s3://{BUCKET}/p.jsonl"\nprompts_per_round = 3\nrounds = 2\n[phases.seed]\n'
    (tmp_path / "x.toml").write_text(recipe)
    code, out, err = sgpo("run", str(tmp_path / "x.toml"), "--dry-run", "--root", str(tmp_path / "runs"))
    assert code == 0, err
    assert [line.split()[1:5] for line in out.splitlines()[1:]] == [[number, stage, "new", "3"] for number in "12" for stage in ("source", "seed")]
