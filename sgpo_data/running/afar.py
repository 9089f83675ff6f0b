"""A worker on a machine that does not see the folder of the dataset: a process beside the driver puts its rows there, and reads the input to it."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from sgpo_data.errors import DatasetError, SgpoError
from sgpo_data.rows import Row
from sgpo_data.schema import schema
from sgpo_data.store.cost import FREE, Cost, done_before
from sgpo_data.store.dataset import Dataset, Readable, open_dataset
from sgpo_data.store.manifest import MANIFEST
from sgpo_data.store.parts import Plan
from sgpo_data.store.shares import worker_held
from sgpo_data.store.unfinished import Unfinished

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

UNDERWAY = 64
"""Rows that are sent before the first of them is known to be safe."""
PIECE = 8 << 20
"""Bytes of a file that are sent at once."""


class Desk:
    """Beside the driver, for one worker as long as that lives: its rows go into the dataset as if it were here."""

    def begin(self, folder: Path, plan: Plan, worker: int) -> None:
        """Takes the lock of the worker's parts.

        Raises DatasetError if one that was the same worker before lives on for too long.
        """
        self._open = ExitStack()
        share = self._open.enter_context(worker_held(folder, worker, lambda part: True))
        self._into = Unfinished(folder, plan, schema(plan.table), {}, {}, done_before(share.place), share=share)
        self._open.callback(self._into.close)

    def made(self, part: int) -> tuple[frozenset[int], int]:
        """The rows of a part, which is the worker's own, that need not be made, and how many rows of its parts so far there are."""
        begin = part * self._into.plan.part_rows
        return frozenset(number for number in range(begin, begin + self._into.plan.part_rows) if self._into.has(number)), self._into.rows_done

    def add(self, number: int, row: Row, cost: Cost) -> None:
        """Takes a finished row; once this returns, a kill does not lose it."""
        self._into.add(number, row, cost)

    def runs_on(self, accelerator: str | None) -> None:
        """What the worker's model runs on."""
        self._into.accelerator = accelerator

    def end(self, rows: int) -> None:
        """All rows of the worker's parts are here, of so many of the dataset."""
        self._into.close_last(rows)

    def leave(self) -> None:
        """Notes what it has cost, and frees the lock."""
        self._open.close()

    def piece(self, path: Path, begin: int) -> bytes:
        """Bytes of a file of the input from here on; none at its end."""
        with path.open("rb") as file:
            file.seek(begin)
            return file.read(PIECE)


class Afar:
    """A dataset in the making whose folder is not here; filled as one that is."""

    def __init__(self, desk: "ActorHandle[Desk]", plan: Plan, takes: Callable[[int], bool]) -> None:
        self._desk, self._part_rows, self._takes = desk, plan.part_rows, takes
        self._made: dict[int, frozenset[int] | None] = {}
        """Of each part that was reached the rows that were there; None if it is another worker's."""
        self._underway: deque[ObjectRef[None]] = deque()
        self._accelerator: str | None = None
        self.rows_done = self.session_tokens = 0

    @property
    def accelerator(self) -> str | None:
        """What the model runs on besides the processor, if anything."""
        return self._accelerator

    @accelerator.setter
    def accelerator(self, value: str | None) -> None:
        self._accelerator = value
        answer(self._desk.runs_on.remote(value))

    def has(self, number: int) -> bool:
        """Whether this row was made already, or is for another worker to make."""
        part = number // self._part_rows
        if part not in self._made:
            self._made[part] = None
            if self._takes(part):
                self._wait(0)
                self._made[part], self.rows_done = cast(tuple[frozenset[int], int], answer(self._desk.made.remote(part)))
        made = self._made[part]
        return made is None or number in made

    def add(self, number: int, row: Row, cost: Cost = FREE) -> None:
        """Sends a finished row; safe once it has arrived, which is waited for where many are under way."""
        self._underway.append(self._desk.add.remote(number, row, cost))
        self.rows_done += 1
        self.session_tokens += cost.tokens
        self._wait(UNDERWAY)

    def close_last(self, rows: int) -> None:
        """Waits until all rows are safe, now that the dataset is known to have this many."""
        self._wait(0)
        answer(self._desk.end.remote(rows))

    def _wait(self, most: int) -> None:
        """Until no more rows than that are under way."""
        while len(self._underway) > most:
            answer(self._underway.popleft())


@contextmanager
def desk(folder: Path, plan: Plan, worker: int, node: str) -> Iterator["ActorHandle[Desk]"]:
    """The process on the driver's machine, with this node of the cluster, that fills the folder for this worker; it ends with the worker."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(node, soft=False)
    found = cast("ActorHandle[Desk]", ray.remote(num_cpus=0)(Desk).options(scheduling_strategy=here).remote())
    try:
        answer(found.begin.remote(folder, plan, worker))
        yield found
    finally:
        with suppress(RayError):
            ray.get(found.leave.remote())
        ray.kill(found)


@contextmanager
def input_here(source: Readable, desk: "ActorHandle[Desk]") -> Iterator[Readable]:
    """The input on this machine: where it is if that is seen here, or else copied for as long as the context lasts."""
    if not isinstance(source, Dataset) or _seen(source):
        yield source
        return
    with TemporaryDirectory(prefix="sgpo-input-") as place:
        for name in (*(record.name for record in source.manifest.files), MANIFEST):
            with (Path(place) / name).open("wb") as file:
                while piece := cast(bytes, answer(desk.piece.remote(source.folder / name, file.tell()))):
                    file.write(piece)
        yield replace(open_dataset(Path(place)), place=source.place)


def answer(reference: "ObjectRef[Any]") -> object:
    """What came of it; what our code raised there is raised here."""
    import ray
    from ray.exceptions import RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, SgpoError):
            raise error.cause from None
        raise


def _seen(source: Dataset) -> bool:
    try:
        return open_dataset(source.folder).manifest == source.manifest
    except DatasetError:
        return False
