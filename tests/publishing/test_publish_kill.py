"""Many publications to a Hub that fails at random, by publishers that are killed at random: each ends as one commit with the right bytes under its tag.

SGPO_TEST_PUBLICATIONS and SGPO_TEST_PUBLISH_KILLS set the scale; 200 and 30 take minutes.
"""

import multiprocessing
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from hub_faults import Fault
from hub_server import Hub
from literal_rows import pair_row, row
from made import made_dataset
from publisher import publish_in_process

from sgpo_data.publishing.card import Config
from sgpo_data.publishing.publication import Publication, publication
from sgpo_data.store.dataset import Dataset

PUBLICATIONS = int(os.environ.get("SGPO_TEST_PUBLICATIONS", "12"))
KILLS = int(os.environ.get("SGPO_TEST_PUBLISH_KILLS", "4"))
FAULTY = 0.2
VERSIONS = 2
"""Of each repository, one after the other."""
LAST_REQUEST = 24
"""A publication without a fault sends about as many; a kill strikes before or at one of them."""


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that begin with everything imported; they are told of the Hub by this one's environment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["pytest", "sgpo_data.publishing.publish", "sgpo_data.query.catalog", "sgpo_data.loop.folder", "sgpo_data.cli.main", "huggingface_hub.hf_api"]
    )
    return context


def random_faults(hub: Hub) -> Iterator[Fault]:
    """One request in five fails, in each of these ways as often as in the others."""
    ways = [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}},
        {"kind": "status", "status": 500, "applied": True},
        {"kind": "reset"},
        {"kind": "reset", "applied": True},
        {"kind": "cut_upload"},
    ]
    left = 1.0
    for way in ways:
        # Of the requests that the ways before have left.
        yield Fault(probability=FAULTY / len(ways) / left, **way)  # type: ignore[arg-type]
        left -= FAULTY / len(ways)


def datasets(folder: Path, number: int) -> tuple[Dataset, Dataset]:
    """The tables of a publication: of its neighbours they share the first parts."""
    names = [f"r{number // VERSIONS}-{i}" for i in range(3 + 2 * (number % VERSIONS))]
    kept = made_dataset(folder / f"filtered-{number}", "filtered", [row(name) for name in names])
    return made_dataset(folder / f"pairs-{number}", "pairs", [pair_row(name) for name in names]), kept


def published(process: BaseProcess, hub: Hub, kill: Fault | None) -> int | None:
    """The exit code of a publisher; -9 if it was killed."""
    hub.faults.clear()
    if kill is not None:
        kill.call = lambda: os.kill(process.pid or 0, signal.SIGKILL)
        hub.faults.add(kill)
    hub.faults.add(*random_faults(hub))
    process.start()
    process.join()
    return process.exitcode


def test_publications_end_as_one_commit_each_whatever_fails_and_whoever_is_killed(hub: Hub, tmp_path: Path, processes: ForkServerContext) -> None:
    hub.faults.dice = random.Random(7)
    dice = random.Random(11)
    wanted: dict[tuple[str, str], Publication] = {}
    codes: Counter[int | None] = Counter()
    # A kill may strike after the last request of a short publication, so some more are planned than asked for.
    kills_left = KILLS
    for number in range(PUBLICATIONS):
        repository, tag = f"org/r{number // VERSIONS}", f"v{number % VERSIONS + 1}"
        pairs, kept = datasets(tmp_path, number)
        arguments = ["publish", str(pairs.folder), str(kept.folder), repository, "--tag", tag, "--root", str(tmp_path)]
        configs = [Config(dataset.table, dataset) for dataset in (pairs, kept)]
        wanted[repository, tag] = publication(configs, repository, tag=tag, license=None, root=tmp_path)
        code: int | None = None
        for _ in range(6):
            strikes = kills_left > 0 and dice.random() < 2 * kills_left / max(PUBLICATIONS - number, 1)
            kill = Fault("call", skip=dice.randrange(LAST_REQUEST), applied=dice.random() < 0.5, times=1) if strikes else None
            code = published(processes.Process(target=publish_in_process, args=(arguments,)), hub, kill)
            codes[code] += 1
            kills_left -= code == -signal.SIGKILL
            if code == 0:
                break
        assert code == 0, codes
    assert codes[-signal.SIGKILL] >= KILLS, codes
    hub.faults.clear()
    assert_published(hub, wanted)
    assert 0.15 < sum(each.fault not in (None, "call") for each in hub.log) / len(hub.log) < 0.25


def assert_published(hub: Hub, wanted: dict[tuple[str, str], Publication]) -> None:
    """By what the Hub has on its disk: one commit for each version, its bytes under its tag, no object taken in again once that was answered."""
    for (name, tag), version in wanted.items():
        repository = hub.repositories.find(name)
        files = repository.at(tag).files
        assert {path: file.sha256 for path, file in files.items() if path != ".gitattributes"} == {file.path: file.sha256 for file in version.files}
        for file in version.files:
            assert len(hub.repositories.storage.get(file.sha256)) == file.size
        tags = [commit.title.removeprefix("Publish ") for commit in repository.history("main")]
        assert tags.count(tag) == 1
        assert tags == [*sorted(repository.tags, reverse=True), "initial commit"]
    uploads = Counter(each.path for each in hub.asked("PUT") if each.status == 200 and each.fault is None)
    assert max(uploads.values()) == 1
