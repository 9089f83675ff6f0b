"""A row-wise stage on a Ray cluster: each worker makes the parts it reaches first, in the folder that the driver holds, if it sees it or not."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Protocol, Self, cast
from uuid import uuid4

from sgpo_data.engines.loading import Loading, ServerLoading
from sgpo_data.errors import EngineError, first_line
from sgpo_data.execution import Execution
from sgpo_data.progress import Report, progress
from sgpo_data.running.afar import Afar, desk, input_here
from sgpo_data.running.cluster import HeadWatch, cluster
from sgpo_data.running.engines import Engines, OpenModel
from sgpo_data.running.stream import Filled
from sgpo_data.schema import schema
from sgpo_data.stages import RowStage
from sgpo_data.store.cost import done_before
from sgpo_data.store.dataset import WORK, Readable
from sgpo_data.store.parts import Plan
from sgpo_data.store.shares import cost_of_shares, worker_held
from sgpo_data.store.unfinished import Unfinished

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
REPORT_SECONDS = 0.2
SIGN = "seen-"
LOSSES = 3
"""Workers that may be lost one after the other without a row made between them."""


class StreamedJob(Protocol):
    """A job whose rows can be made in several processes at once."""

    @property
    def stage(self) -> RowStage:
        """With every default resolved."""
        ...

    @property
    def loading(self) -> Loading:
        """How the model that fills the rows is loaded."""
        ...

    def source(self) -> Readable:
        """The dataset it reads."""
        ...

    def rows_of(self, source: Readable) -> int:
        """How many rows it makes."""
        ...

    def check_fit(self, source: Readable) -> None:
        """Raises RecipeError if the stage can use none of the rows."""
        ...

    def located(self) -> Self:
        """The same job with paths that mean the same in every folder."""
        ...

    def reading(self, source: Readable) -> Self:
        """The same job where its input lies elsewhere."""
        ...

    def found(self) -> Self:
        """The same job with its models where this machine has them."""
        ...

    def stream(self, into: Filled, source: Readable, engines: Engines, report: Report) -> None:
        """Makes the missing rows of its parts in this process."""
        ...


class Claims:
    """Which worker makes which part: the one that reached it first; a worker that takes the place of a lost one has its parts."""

    def __init__(self, missing: frozenset[int]) -> None:
        self._missing = missing
        self._workers: dict[int, int] = {}
        self._made: dict[int, tuple[int, int]] = {}

    def claim(self, worker: int, part: int) -> bool:
        """Whether the part is this worker's to make."""
        return part in self._missing and self._workers.setdefault(part, worker) == worker

    def report(self, worker: int, rows: int, tokens: int) -> None:
        """A worker has so many rows of its parts, at the cost of so many tokens."""
        self._made[worker] = rows, tokens

    def made(self) -> tuple[int, int]:
        """Rows and tokens of all workers."""
        return sum(rows for rows, _ in self._made.values()), sum(tokens for _, tokens in self._made.values())

    def waits_for(self, worker: int) -> bool:
        """Whether there is, or may be, a part for this worker."""
        return worker in self._workers.values() or len(self._workers) < len(self._missing)


def fill_on_ray(job: StreamedJob, into: Unfinished, source: Readable, execution: Execution, engines: Engines) -> None:
    """Makes every missing row on the cluster of the execution, in the folder that this process holds.

    Raises MissingExtraError without Ray, EngineError if there is no such cluster or its workers are lost again and again, whatever a worker raises.
    """
    assert execution.ray is not None
    rows = job.rows_of(source)
    missing = frozenset(range(-(-rows // into.plan.part_rows))) - into.files.keys()
    if missing:
        job.check_fit(source)
        # Workers may be on this machine too, and the model that is open here may fill it.
        engines.close()
        began = monotonic()
        bar = progress({job.stage.stage_name: rows}, style=execution.progress, status=execution.status)
        with cluster(execution.ray), bar as (report,):
            crew = _crew(job, into, missing, execution, engines.open_model)
            before = into.rows_done - sum(len(part.rows) for part in into.open_parts.values())
            crew.work(lambda made, tokens: report(before + made, tokens))
        # Their seconds are in what each worker has noted.
        into.shared_seconds += monotonic() - began
        for part in sorted(missing):
            into.take_up(part)
        into.others = cost_of_shares(into.folder)
    into.close_last(rows)


@dataclass
class Crew:
    """The workers that make a dataset on the cluster."""

    start: Callable[[int], "ObjectRef[None]"]
    """Starts the worker of this number."""
    claims: "ActorHandle[Claims]"
    count: int
    running: dict["ObjectRef[None]", int] = field(default_factory=dict)
    losses: int = 0
    """Workers lost since the last row."""
    rows: int = -1
    """Rows made when the last one was lost."""

    def work(self, report: Report) -> None:
        """Until all parts are made: a worker that is lost is started again, and goes on with its parts."""
        import ray

        head = HeadWatch.of_this_process()
        try:
            for worker in range(self.count):
                self._start(worker)
            while self.running:
                head.look()
                ended, _ = ray.wait(list(self.running), timeout=POLL_SECONDS)
                made = cast("tuple[int, int]", ray.get(self.claims.made.remote()))
                report(*made)
                for reference in ended:
                    self._end(reference, made[0])
        finally:
            for reference in self.running:
                ray.cancel(reference, force=True)

    def _start(self, worker: int) -> None:
        self.running[self.start(worker)] = worker

    def _end(self, reference: "ObjectRef[None]", made: int) -> None:
        import ray
        from ray.exceptions import RayError, RayTaskError

        worker = self.running.pop(reference)
        try:
            ray.get(reference)
        except RayTaskError:
            raise
        except RayError as error:
            self._count_loss(worker, made, error)
            if self._needs(worker):
                self._start(worker)
        for other, number in list(self.running.items()):
            # It may be waiting for room on the cluster that it has no use for any more.
            if not self._needs(number):
                ray.cancel(other, force=True)
                del self.running[other]

    def _count_loss(self, worker: int, made: int, error: Exception) -> None:
        self.losses = self.losses + 1 if made <= self.rows else 1
        self.rows = made
        if self.losses == LOSSES:
            raise EngineError(
                f"{LOSSES} workers in a row were lost before they made a row, the last one so: {first_line(error)}; look into their logs with: ray logs; "
                "the same command goes on from here"
            ) from error
        log.warning("worker %d is lost (%s); another one goes on with its parts", worker, first_line(error))

    def _needs(self, worker: int) -> bool:
        import ray

        return bool(ray.get(self.claims.waits_for.remote(worker)))


@dataclass(frozen=True)
class Shared:
    """What each worker is given."""

    job: StreamedJob
    folder: Path
    sign: Path
    """A file in that folder which whoever sees the folder sees."""
    node: str
    """Of the cluster: the machine of the driver, and of that folder."""
    plan: Plan
    execution: Execution
    open_model: OpenModel

    @contextmanager
    def opened(self, worker: int, takes: Callable[[int], bool]) -> Iterator[tuple[StreamedJob, Filled]]:
        """The job as it is on this machine, and what its rows go into: the folder itself, or a process that sees it."""
        job = self.job.found()
        if self.sign.is_file():
            with worker_held(self.folder, worker, takes) as share:
                into = Unfinished(self.folder, self.plan, schema(self.plan.table), {}, {}, done_before(share.place), share=share)
                with closing(into):
                    yield job, into
        else:
            with desk(self.folder, self.plan, worker, self.node) as beside, input_here(job.source(), beside) as source:
                yield job.reading(source), Afar(beside, self.plan, takes)


def _crew(job: StreamedJob, into: Unfinished, missing: frozenset[int], execution: Execution, open_model: OpenModel) -> Crew:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    gpus = execution.tensor_parallel * execution.data_parallel
    served = isinstance(job.loading, ServerLoading)
    on_gpus = not served and execution.device != "cpu" and _room("GPU", 1) > 0
    room = 1 if served else _room("GPU", gpus) if on_gpus else _room("CPU", 1)
    if room == 0 and execution.ray_workers is None:
        raise EngineError(f"--ray {execution.ray}: no machine of the cluster has {gpus} GPUs; lower --tensor-parallel, or give --ray-workers")
    # Beside the driver, without which the work ends too; a soft affinity lets Ray put them on a machine that may be lost.
    node = ray.get_runtime_context().get_node_id()
    here = NodeAffinitySchedulingStrategy(node, soft=False)
    claims = cast("ActorHandle[Claims]", ray.remote(num_cpus=0)(Claims).options(scheduling_strategy=here).remote(missing))
    # A process for each, so that all a model had on a device is free with its end. They are started again here, where it is counted.
    task = ray.remote(max_calls=1, max_retries=0, num_cpus=1, num_gpus=gpus if on_gpus else 0)(_make_parts)
    own = execution.model_copy(update={"ray": None, "progress": "none", "status": None})
    folder = into.folder.absolute()
    # Of a machine that has another folder of this name, it is in none.
    sign = folder / WORK / f"{SIGN}{uuid4().hex}"
    sign.touch()
    shared = ray.put(Shared(job.located(), folder, sign, node, into.plan, own, open_model))
    return Crew(lambda worker: task.remote(worker, claims, shared), claims, min(execution.ray_workers or room, len(missing)))


def _room(kind: str, each: int) -> int:
    """How many workers that need so much each the machines of the cluster have room for."""
    import ray

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    rooms = [int(node["Resources"].get(kind, 0) // each) for node in nodes if node["Alive"]]
    return sum(rooms)


def _make_parts(worker: int, claims: "ActorHandle[Claims]", shared: "Shared") -> None:
    """What a worker does, in a process of its own."""
    import ray

    last = 0.0

    def takes(part: int) -> bool:
        return bool(ray.get(claims.claim.remote(worker, part)))

    def report(rows: int, tokens: int) -> None:
        nonlocal last
        if monotonic() - last >= REPORT_SECONDS:
            last = monotonic()
            claims.report.remote(worker, rows, tokens)

    with shared.opened(worker, takes) as (job, into):
        with closing(Engines(shared.execution, open_model=shared.open_model)) as engines:
            job.stream(into, job.source(), engines, report)
        claims.report.remote(worker, into.rows_done, into.session_tokens)
