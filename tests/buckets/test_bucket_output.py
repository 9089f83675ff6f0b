"""What a stage writes into a bucket: part by part, the manifest last, nobody else's place, and once."""

import os
from pathlib import Path

import pytest
from bucket_server import BUCKET, BucketServer
from literal_rows import row
from made import made_dataset
from sgpo_data.cli.main import app
from typer.testing import CliRunner

import sgpo_data
from sgpo_data.buckets import upload
from sgpo_data.buckets.client import bucket_files
from sgpo_data.errors import DatasetError
from sgpo_data.names import BucketPlace

ROWS = [row(name) for name in "abcde"]
OUT = f"s3://{BUCKET}/out/pairs"


def sgpo(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def paired(tmp_path: Path, *more: str, out: str = OUT, root: str = "runs") -> tuple[int, str, str]:
    filtered = tmp_path / "filtered"
    if not filtered.exists():
        made_dataset(filtered, "filtered", ROWS)
    return sgpo("pair", str(filtered), "-o", out, "--root", str(tmp_path / root), *more)


def puts(bucket: BucketServer) -> list[str]:
    return [path.rpartition("/")[2] for method, path in bucket.buckets.log if method == "PUT"]


def test_what_is_put_there_is_what_a_folder_would_hold_and_the_manifest_comes_last(bucket: BucketServer, tmp_path: Path) -> None:
    code, out, err = paired(tmp_path)
    assert (code, out.strip()) == (0, OUT), err
    assert paired(tmp_path, out=str(tmp_path / "local"), root="other")[0] == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "local").glob("*.parquet")}
    assert {name: bucket.content(f"out/pairs/{name}") for name in bucket.keys("out/pairs") if name != "manifest.json"} == files
    first, *parts, last = puts(bucket)
    assert (first, sorted(parts), last) == ("plan.json", sorted(files), "manifest.json")
    assert not list((tmp_path / "runs" / "store").glob("upload@*"))
    assert sgpo_data.scan(OUT, root=tmp_path / "third").collect().height == 5


def test_it_is_read_again_from_the_store_that_made_it(bucket: BucketServer, tmp_path: Path) -> None:
    paired(tmp_path)
    before = len(bucket.buckets.log)
    assert sgpo_data.scan(OUT, root=tmp_path / "runs").collect().height == 5
    assert [path.rpartition("/")[2] for _, path in bucket.buckets.log[before:]] == ["manifest.json"]


def test_what_is_there_is_found_as_made_by_any_root(bucket: BucketServer, tmp_path: Path) -> None:
    paired(tmp_path)
    bucket.buckets.log.clear()
    code, out, _ = paired(tmp_path, root="other")
    assert (code, out.strip()) == (0, OUT)
    assert puts(bucket) == []
    assert not list((tmp_path / "other").rglob("*.parquet"))


def test_a_dataset_of_another_fingerprint_is_refused(bucket: BucketServer, tmp_path: Path) -> None:
    paired(tmp_path)
    before = {name: bucket.content(f"out/pairs/{name}") for name in bucket.keys("out/pairs")}
    code, _, err = paired(tmp_path, "--seed", "5")
    assert code == 1
    assert f"{OUT}: belongs to another fingerprint" in err
    assert before == {name: bucket.content(f"out/pairs/{name}") for name in bucket.keys("out/pairs")}


def test_a_place_with_something_else_is_refused(bucket: BucketServer, tmp_path: Path) -> None:
    bucket.put("out/pairs/thesis.txt", b"...")
    code, _, err = paired(tmp_path)
    assert code == 1
    assert f"{OUT}: is not empty, and no dataset" in err
    assert bucket.keys("out/pairs") == ["thesis.txt"]


def test_a_place_that_another_root_writes_to_is_refused_until_its_claim_is_removed(bucket: BucketServer, tmp_path: Path) -> None:
    claim = "out/pairs/.unfinished/plan.json"
    kept: list[bytes] = []
    bucket.buckets.told = lambda method, path: kept.append(bucket.content(claim)) if (method, path[-13:]) == ("PUT", "manifest.json") else None
    assert paired(tmp_path)[0] == 0
    bucket.buckets.told = lambda method, path: None
    bucket.client.delete_object(Bucket=BUCKET, Key="out/pairs/manifest.json")
    bucket.put(claim, kept[0])
    code, _, err = sgpo("check", OUT, "--root", str(tmp_path / "third"))
    assert code == 1
    assert "never finished" in err
    code, _, err = paired(tmp_path, root="other")
    assert code == 1
    assert f"is being made from another --root; run the command with that one, or if that is lost: aws s3 rm --recursive {OUT}" in err
    assert paired(tmp_path, "--seed", "5", root="other")[0] == 1


@pytest.mark.parametrize(("out", "says"), [(f"s3://{BUCKET}", "name a folder of the bucket too"), ("s3://no-such-bucket/x", "no such bucket")])
def test_where_nothing_can_be_written_one_line_says_so_before_anything_is_made(bucket: BucketServer, tmp_path: Path, out: str, says: str) -> None:
    code, _, err = paired(tmp_path, out=out)
    assert code in (1, 2)
    assert says in err
    assert not list((tmp_path / "runs").rglob("*.parquet"))


def test_what_no_stage_makes_goes_into_no_bucket(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="s3://bucket/x: only seed, improve, score-ppl, filter and pair write there"):
        made_dataset(Path("s3://bucket/x"), "filtered", ROWS)


def test_a_server_that_fails_for_good_costs_nothing_that_was_made(bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(type(bucket_files()), "retries", 1)

    def fail_parts(method: str, path: str) -> None:
        bucket.buckets.share = float(path.endswith(".parquet"))

    bucket.buckets.told = fail_parts
    code, _, err = paired(tmp_path)
    assert (code, "try again later" in err) == (4, True)
    assert bucket.keys("out/pairs") == [".unfinished/plan.json"]
    (made,) = (tmp_path / "runs").rglob("*.parquet")
    before = made.stat()
    bucket.buckets.told, bucket.buckets.share = lambda method, path: None, 0.0
    assert paired(tmp_path)[0] == 0
    assert made.stat().st_mtime_ns == before.st_mtime_ns
    assert bucket.content(f"out/pairs/{made.name}") == made.read_bytes()


def test_a_large_part_goes_up_in_pieces_and_once_where_the_last_answer_is_lost(bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    monkeypatch.setattr(type(bucket_files()), "retries", 1)
    monkeypatch.setattr(upload, "PIECE_BYTES", 5 << 20)
    part = tmp_path / "part-00000.parquet"
    part.write_bytes(os.urandom(11 << 20))
    posts: list[str] = []

    def lose_the_last(method: str, path: str) -> None:
        # The second POST ends the upload; its answer is lost, and the upload is no longer known afterwards.
        posts.extend([path] if method == "POST" else [])
        bucket.buckets.failing = "answer dropped" if method == "POST" and len(posts) == 2 else None

    bucket.buckets.told = lose_the_last
    there = upload.Upload(BucketPlace(BUCKET, "out"), tmp_path, {})
    there.put([part])
    assert len(posts) > 2
    assert bucket.content("out/part-00000.parquet") == part.read_bytes()
    assert list(there.digests) == ["part-00000.parquet"]
