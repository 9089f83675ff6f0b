"""Rows per second of 1, 2 and 4 workers on a Ray cluster, with an engine whose cost is a timed wait, so that the processors are not the limit."""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from corpus import write_prompts
from result import document, table

from sgpo_data.engines import GenerateRequest, Generation, Likelihood, Scored, ScoreRequest
from sgpo_data.engines.loading import Loading
from sgpo_data.execution import Execution
from sgpo_data.references.model import Model
from sgpo_data.running.engines import OpenModel
from sgpo_data.running.runner import run
from sgpo_data.stages.seed import Seed

ANSWER = "The list has all that was asked for, in the order that was asked for. " * 7
WORKERS = (1, 2, 4)


class WaitingEngine:
    """Has each answer so long after its request, with a window of them under way."""

    accelerator: str | None = None

    def __init__(self, seconds: float, window: int) -> None:
        self.seconds, self.window = seconds, window

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        """As `Generator.generate`; a stage alone always has a request."""
        under_way: deque[tuple[float, GenerateRequest]] = deque()
        for request in filter(None, requests):
            under_way.append((time.monotonic() + self.seconds, request))
            if len(under_way) == self.window:
                yield self._answer(*under_way.popleft())
        while under_way:
            yield self._answer(*under_way.popleft())

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
        """As `Scorer.score`."""
        for request in requests:
            yield Scored(request.key, tuple(Likelihood(120.0, 120) for _ in request.answers))

    def close(self) -> None:
        """Nothing to free."""

    def _answer(self, due: float, request: GenerateRequest) -> Generation:
        time.sleep(max(0.0, due - time.monotonic()))
        return Generation(request.key, ANSWER, "stop", nll=120.0, tokens=120)


def opens(seconds: float, window: int, workers: int, place: Path) -> OpenModel:
    """Loads the engine once all workers are there, and notes when: how long a process takes to begin is another question."""

    def open_waiting(loading: Loading, model: Model, how: Execution) -> WaitingEngine:
        (place / f"there-{os.getpid()}").touch()
        while len(list(place.glob("there-*"))) < workers:
            time.sleep(0.05)
        (place / "began").touch()
        return WaitingEngine(seconds, window)

    return open_waiting


def rate(workers: int, given: argparse.Namespace) -> float:
    """Rows per second, from the moment that all workers have their engine until the dataset is whole."""
    with tempfile.TemporaryDirectory(prefix="sgpo-ray-") as folder:
        place = Path(folder)
        (place / "model").mkdir()
        (place / "model/config.json").write_text(json.dumps({"max_position_embeddings": 4096, "dtype": "float32"}))
        source = write_prompts(place / "prompts.jsonl", given.rows)
        how = Execution(root=place / "runs", part_rows=given.part_rows, window=given.window, progress="none", ray="local", ray_workers=workers)
        dataset = run(Seed(), str(source), model=str(place / "model"), execution=how, open_model=opens(given.seconds, given.window, workers, place))
        last = max(path.stat().st_mtime for path in dataset.paths)
        return float(given.rows / (last - (place / "began").stat().st_mtime))


def main() -> None:
    """Prints the table."""
    import ray

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1920, help="Prompts.")
    arguments.add_argument("--part-rows", type=int, default=16, help="Rows of a part.")
    arguments.add_argument("--window", type=int, default=8, help="Rows in flight with each worker.")
    arguments.add_argument("--seconds", type=float, default=0.5, help="Wait for each answer.")
    arguments.add_argument("--quick", action="store_true", help="240 rows.")
    given = arguments.parse_args()
    if given.quick:
        given.rows = 240
    # The engine is a class of this file, which workers cannot import.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    ray.init(num_cpus=max(WORKERS), include_dashboard=False, log_to_driver=False)
    rates = {workers: rate(workers, given) for workers in WORKERS}
    best = given.window / given.seconds
    lines = [
        {
            "workers": workers,
            "rows per second": f"{found:.1f}",
            "of what the waits allow": f"{found / best / workers:.3f}",
            "of linear": f"{found / rates[1] / workers:.3f}",
        }
        for workers, found in rates.items()
    ]
    about = (
        f"`seed` over {given.rows:,} prompts in parts of {given.part_rows}; each answer comes {given.seconds} s after its request, {given.window} are under "
        "way with each worker. Workers, driver and cluster share the processors of one machine. Timed from the moment that all workers have their engine."
    )
    print(document("Workers on a Ray cluster", about, table(lines)))


if __name__ == "__main__":
    main()
