"""Claims about a dataset that a Ray cluster makes: it is the one that a single process makes, whoever is killed."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fake_model
import pytest
import ray
from fake_model import FakeModel, model_folder
from killing import assert_equal, counted, ended, lines
from ray.cluster_utils import Cluster
from ray_machine import hiding, machines
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.engines import GenerateRequest, Generation
from sgpo_data.engines.loading import Loading
from sgpo_data.errors import EngineError, MissingExtraError
from sgpo_data.execution import Execution
from sgpo_data.loop.loop import run_recipe
from sgpo_data.references.model import Model
from sgpo_data.running import cluster as cluster_module
from sgpo_data.running.cluster import RECONNECT, HeadWatch
from sgpo_data.running.engines import OpenModel
from sgpo_data.running.on_ray import LOSSES, Claims
from sgpo_data.running.runner import run
from sgpo_data.stages.seed import Seed
from sgpo_data.store.dataset import WORK, Dataset, faults, open_dataset
from sgpo_data.toy.__main__ import prompts
from sgpo_data.toy.model import base_model

ROWS, PART_ROWS, WINDOW = 60, 4, 3

RECIPE = """
model = "model"
[[phases]]
name = "policy"
[phases.source]
path = "prompts.jsonl"
[phases.seed]
[phases.improve]
role = "improve"
"""


class CountedModel(FakeModel):
    """Takes its time for each answer, and writes a line to a file for each request that it draws."""

    def __init__(self, drawn: Path, *, seconds: float, dies: bool) -> None:
        super().__init__(window=WINDOW)
        self.drawn, self.seconds, self.dies = drawn, seconds, dies

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        """As FakeModel."""

        def each() -> Iterator[GenerateRequest | None]:
            for request in requests:
                with self.drawn.open("ab", buffering=0) as file:
                    file.write(b"drawn\n")
                if self.dies:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield request

        for answer in super().generate(each()):
            time.sleep(self.seconds)
            yield answer


def opens(drawn: Path, *, seconds: float = 0.0, dies: bool = False) -> OpenModel:
    """Loads such a model in any process."""
    return lambda *_: CountedModel(drawn, seconds=seconds, dies=dies)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three machines in one, each with room for one worker."""
    for module in (fake_model, sys.modules[__name__]):
        ray.cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    memory = 80 * 2**20
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": memory, "include_dashboard": False})
    try:
        for _ in range(2):
            found.add_node(num_cpus=1, object_store_memory=memory)
        yield found
    finally:
        found.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    model_folder(tmp_path / "model")
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"Say {i} and no more."}) + "\n" for i in range(ROWS)))
    return tmp_path


def made(place: Path, out: str, opened: OpenModel, *, address: str | None = None, workers: int | None = None) -> Dataset:
    how = Execution(root=place / "runs", part_rows=PART_ROWS, window=WINDOW, progress="none", ray=address, ray_workers=workers)
    return run(Seed(), str(place / "prompts.jsonl"), model=str(place / "model"), execution=how, out=place / out, open_model=opened)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


def assert_made_alone(place: Path, dataset: Dataset) -> None:
    """It is what a single process makes, to the byte."""
    alone = made(place, "alone", opens(place / "alone.drawn"))
    assert faults(dataset) == []
    assert contents(dataset.folder) == contents(alone.folder)
    assert dataset.manifest.fingerprint == alone.manifest.fingerprint
    assert (dataset.manifest.rows, dataset.manifest.rows_in, dataset.manifest.outcomes) == (ROWS, ROWS, {"stop": ROWS})
    assert dataset.manifest.tokens == alone.manifest.tokens > 0
    assert not (dataset.folder / WORK).exists()


@contextmanager
def disturbed(drawn: Path, moments: list[int], disturb: Callable[[], None]) -> Iterator[None]:
    """Does so each time that so many requests are drawn."""
    over = threading.Event()

    def watch() -> None:
        for moment in moments:
            while lines(drawn) < moment:
                if over.wait(0.01):
                    return
            disturb()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def workers_of(folder: Path) -> list[int]:
    """Processes of the workers that make this dataset now."""
    found = []
    for holder in sorted((folder / WORK / "shares").glob("ray-*/holder.json")):
        with suppress(OSError, ValueError):
            process = json.loads(holder.read_bytes())["process"]
            if b"_make_parts" in Path(f"/proc/{process}/cmdline").read_bytes():
                found.append(process)
    return found


def test_a_part_is_of_the_worker_that_reaches_it_first_and_of_the_one_in_its_place() -> None:
    claims = Claims(frozenset({1, 2, 5}))
    assert [claims.claim(0, part) for part in (0, 1, 5)] == [False, True, True]
    assert [claims.claim(1, part) for part in (1, 2, 5)] == [False, True, False]
    assert [claims.claim(0, part) for part in (1, 2, 5)] == [True, False, True]
    assert [claims.waits_for(worker) for worker in (0, 1, 2)] == [True, True, False]
    for worker, rows in ((0, 3), (1, 2), (0, 5)):
        claims.report(worker, rows, 10 * rows)
    assert claims.made() == (7, 70)


def test_without_ray_one_line_says_how_to_get_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"^ray is not installed; run: pip install 'sgpo-data\[ray\]'$"):
        made(place, "out", opens(place / "drawn"), address="local")


def test_an_address_where_no_cluster_is_gets_one_line(place: Path) -> None:
    with pytest.raises(EngineError, match=r"--ray 127\.0\.0\.1:1: no cluster there .*begin one with: ray start --head") as caught:
        made(place, "out", opens(place / "drawn"), address="127.0.0.1:1")
    assert "\n" not in str(caught.value)


def test_a_head_that_no_longer_answers_ends_the_work_once_patience_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "LOOK_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = "{}:{}".format(*head.getsockname())
        patient, watch = HeadWatch(address, patience=60), HeadWatch(address, patience=0.05)
        for each in (patient, watch, HeadWatch("", patience=0)):
            time.sleep(0.02)
            each.look()
    time.sleep(0.1)
    patient.look()
    with pytest.raises(EngineError, match=rf"^{address}: the head of the Ray cluster has not answered for .* the same command goes on from here$"):
        watch.look()


@pytest.mark.parametrize("words", ["seed prompts.jsonl --model model --ray auto --part-range 1/2", "run x.toml --ray auto --print-slurm"])
def test_the_parts_are_shared_out_in_one_way(words: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    (place / "x.toml").write_text(RECIPE)
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 2
    assert "leave one out" in result.stderr


def test_a_cluster_makes_the_dataset_of_one_process(place: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    how = Execution(part_rows=PART_ROWS, window=WINDOW, progress="none", ray=cluster.address)
    # Workers run in another folder than this, so paths from here have to be made whole.
    dataset = run(Seed(), "prompts.jsonl", model="model", execution=how, out=Path("shared"), open_model=opens(place / "drawn", seconds=0.02))
    assert_made_alone(place, dataset)
    assert lines(place / "drawn") == ROWS
    again = run(Seed(), "prompts.jsonl", model="model", execution=how, out=Path("shared"), open_model=opens(place / "drawn"))
    assert again.manifest == dataset.manifest
    assert lines(place / "drawn") == ROWS


def test_a_run_makes_its_stages_on_the_cluster(place: Path, cluster: Cluster) -> None:
    (place / "x.toml").write_text(RECIPE)
    for root, address in (("on-ray", cluster.address), ("alone", None)):
        how = Execution(root=place / root, part_rows=PART_ROWS, window=WINDOW, progress="none", ray=address, ray_workers=2)
        run_recipe(place / "x.toml", how, open_model=opens(place / f"{root}.drawn"))
    for table in ("responses", "improved"):
        ours, theirs = (open_dataset(place / root / "x/policy-1" / table) for root in ("on-ray", "alone"))
        assert faults(ours) == []
        assert contents(ours.folder) == contents(theirs.folder)
        assert ours.manifest.fingerprint == theirs.manifest.fingerprint
    assert lines(place / "on-ray.drawn") == 2 * ROWS


def test_killed_workers_cost_their_rows_in_flight(place: Path, cluster: Cluster) -> None:
    drawn, dice, killed = place / "drawn", random.Random(31), []

    def kill() -> None:
        if workers := workers_of(place / "shared"):
            killed.append(dice.choice(workers))
            os.kill(killed[-1], signal.SIGKILL)

    with disturbed(drawn, sorted(dice.sample(range(2, ROWS - 10), 2)), kill):
        dataset = made(place, "shared", opens(drawn, seconds=0.1), address=cluster.address)
    assert killed
    assert_made_alone(place, dataset)
    assert ROWS <= lines(drawn) <= ROWS + WINDOW * len(killed)


def test_workers_that_die_again_and_again_end_the_work(place: Path, cluster: Cluster) -> None:
    with pytest.raises(EngineError, match=f"{LOSSES} workers in a row were lost before they made a row"):
        made(place, "shared", opens(place / "drawn", dies=True), address=cluster.address, workers=1)
    assert lines(place / "drawn") == LOSSES
    assert_made_alone(place, made(place, "shared", opens(place / "drawn"), address=cluster.address, workers=1))


def test_an_error_of_a_worker_is_the_error_of_the_command(place: Path, cluster: Cluster) -> None:
    def refuse(loading: Loading, model: Model, how: Execution) -> FakeModel:
        raise EngineError("the memory of the GPU is full")

    with pytest.raises(EngineError, match=r"^the memory of the GPU is full$"):
        made(place, "shared", refuse, address=cluster.address)


def test_a_killed_driver_is_resumed_by_the_same_command(tmp_path: Path, cluster: Cluster) -> None:
    base_model(tmp_path / "model")
    prompts(30, 5, tmp_path / "prompts.jsonl")
    counts, alone, dice = tmp_path / "drawn", tmp_path / "alone.drawn", random.Random(37)
    window, workers = 4, 2
    words = ["--model", str(tmp_path / "model"), "--sampling.max_tokens", "24", "--window", str(window), "--part-rows", "5", "--progress", "none"]
    given = ["seed", str(tmp_path / "prompts.jsonl"), *words, "--root", str(tmp_path / "runs")]
    on_ray = counted(counts, *given, "-o", str(tmp_path / "shared"), "--ray", cluster.address, "--ray-workers", str(workers))
    ended(on_ray, counts, after=dice.randrange(4, 16), by=signal.SIGKILL)
    assert not (tmp_path / "shared/manifest.json").exists()
    status, said = ended(on_ray, counts, after=None)
    assert status == 0, said
    assert "leaked" not in said
    status, said = ended(counted(alone, *given, "-o", str(tmp_path / "alone")), alone, after=None)
    assert status == 0, said
    ours, theirs = open_dataset(tmp_path / "shared"), open_dataset(tmp_path / "alone")
    assert faults(ours) == []
    assert ours.manifest.fingerprint == theirs.manifest.fingerprint
    assert_equal(ours.scan().collect(), theirs.scan().collect())
    assert 30 <= lines(counts) <= 30 + workers * window


def test_a_lost_machine_costs_its_rows_in_flight(place: Path, cluster: Cluster) -> None:
    drawn = place / "drawn"
    before = set(cluster.worker_nodes)

    def lose_one() -> None:
        # With the machine that the driver is on the driver would be lost too.
        here = ray.get_runtime_context().get_node_id()
        cluster.remove_node(next(node for node in cluster.worker_nodes if node.node_id != here), allow_graceful=False)

    with disturbed(drawn, [ROWS // 3], lose_one):
        dataset = made(place, "shared", opens(drawn, seconds=0.1), address=cluster.address)
    assert len(before - set(cluster.worker_nodes)) == 1
    assert_made_alone(place, dataset)
    assert ROWS <= lines(drawn) <= ROWS + WINDOW


@pytest.mark.parametrize(
    ("count", "name", "line"),
    [
        pytest.param(2, "", r"^--ray 127\.0\.0\.1:\d+: the cluster is lost \(.*\); begin", id="with_the_machine_of_the_driver"),
        pytest.param(1, "gcs_server", r"^[\d.]+:\d+: the head of the Ray cluster has not answered for 12 s; begin", id="away_from_the_driver"),
    ],
)
def test_a_killed_head_ends_the_command_with_a_line_and_another_cluster_goes_on(
    count: int, name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, window, workers = 48, 2, 2
    base_model(tmp_path / "model")
    prompts(rows, 5, tmp_path / "prompts.jsonl")
    words = ["--model", str(tmp_path / "model"), "--sampling.max_tokens", "24", "--window", str(window), "--part-rows", "2", "--progress", "none"]
    given = ["seed", str(tmp_path / "prompts.jsonl"), *words, "--root", str(tmp_path / "runs")]
    counts, alone, shared = tmp_path / "drawn", tmp_path / "alone.drawn", tmp_path / "shared"

    def on_ray(address: str) -> list[str]:
        return counted(counts, *given, "-o", str(shared), "--ray", address, "--ray-workers", str(workers))

    with monkeypatch.context() as slow:
        # Ray gives a head a minute, and the command a third of that.
        slow.setenv(RECONNECT, "36")
        slow.setenv("SGPO_TEST_SECONDS", "1")
        with machines(count, cpus=workers // count) as (address, each), disturbed(counts, [10], lambda: each[0].kill(name)):
            status, said = ended(on_ray(address), counts, after=None)
    assert (status, len(re.findall(line, said, re.MULTILINE))) == (1, 1), said
    assert not re.search(r"Traceback|rpc_client", said)
    kept = contents(shared)
    assert 0 < len(kept) < rows // 2
    with machines(1, cpus=workers) as (address, _):
        status, said = ended(on_ray(address), counts, after=None)
    assert status == 0, said
    assert contents(shared).items() >= kept.items()
    status, said = ended(counted(alone, *given, "-o", str(tmp_path / "alone")), alone, after=None)
    assert status == 0, said
    ours, theirs = open_dataset(shared), open_dataset(tmp_path / "alone")
    assert faults(ours) == []
    assert ours.manifest.fingerprint == theirs.manifest.fingerprint
    assert_equal(ours.scan().collect(), theirs.scan().collect())
    assert rows <= lines(counts) <= rows + workers * window


def can_hide(folder: Path) -> bool:
    return subprocess.run([*hiding(folder), "true"], capture_output=True).returncode == 0


def test_a_machine_that_does_not_see_the_folder_makes_its_rows_all_the_same(tmp_path: Path) -> None:
    """Neither the input nor the output is where that machine could find it, and the worker on it is killed, and the driver."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    if not can_hide(hidden):
        pytest.skip("this system lets no process have mounts of its own")
    rows, window, workers = 48, 2, 2
    base_model(tmp_path / "model")
    prompts(rows, 5, tmp_path / "prompts.jsonl")
    words = ["--model", str(tmp_path / "model"), "--sampling.max_tokens", "24", "--window", str(window), "--part-rows", "3", "--progress", "none"]
    given = ["seed", str(tmp_path / "prompts.jsonl"), *words, "--root", str(hidden / "runs")]
    counts, alone, shared = tmp_path / "drawn", tmp_path / "alone.drawn", hidden / "shared"
    lost = []

    def lose_a_worker() -> None:
        lost.append(each[1].runs("_make_parts"))
        each[1].kill("_make_parts")

    with machines(workers, cpus=1, hides=hidden) as (address, each):
        on_ray = counted(counts, *given, "-o", str(shared), "--ray", address, "--ray-workers", str(workers))
        ended(on_ray, counts, after=rows // 3, by=signal.SIGKILL)
        with disturbed(counts, [2 * rows // 3], lose_a_worker):
            status, said = ended(on_ray, counts, after=None)
    assert status == 0, said
    assert lost == [True]
    status, said = ended(counted(alone, *given, "-o", str(tmp_path / "alone")), alone, after=None)
    assert status == 0, said
    ours, theirs = open_dataset(shared), open_dataset(tmp_path / "alone")
    assert faults(ours) == []
    assert_equal(ours.scan().collect(), theirs.scan().collect())
    assert ours.manifest.fingerprint == theirs.manifest.fingerprint
    assert ours.manifest.tokens == theirs.manifest.tokens
    assert rows <= lines(counts) <= rows + 2 * workers * window
