"""Two jobs as one stream: the second starts on a row of the first while that is being made."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sgpo_data.engines import Generator
from sgpo_data.execution import Execution
from sgpo_data.progress import Report, progress
from sgpo_data.running.engines import Engines
from sgpo_data.running.rowwise import GeneratingJob
from sgpo_data.running.stream import Lane, Overlap
from sgpo_data.store.resume import finish, take_up
from sgpo_data.store.unfinished import Unfinished


@dataclass(frozen=True)
class OverlappingJobs:
    """A job and the one that reads its output, both written by the same model, loaded the same way."""

    first: GeneratingJob
    second: GeneratingJob

    @classmethod
    def of(cls, first: object, second: object) -> "OverlappingJobs | None":
        """The two jobs, None if the second has to wait for the first."""
        if not (isinstance(first, GeneratingJob) and isinstance(second, GeneratingJob)):
            return None
        follows = second.input.record.fingerprint == first.identity.fingerprint
        return cls(first, second) if follows and second.author == first.author and second.loading == first.loading else None

    def make(self, folders: tuple[Path, Path], execution: Execution, engines: Engines, *, first_made: Callable[[], None] = lambda: None) -> None:
        """Makes both datasets as one stream, in these folders; they are the same as when made one after the other.

        The first is finished as soon as it is whole, and `first_made` is called; the second follows. Rows that earlier sessions made are kept.
        """
        first, second = self.first, self.second
        with (
            take_up(folders[0], first.identity, table=first.writes, part_rows=execution.part_rows) as into,
            take_up(folders[1], second.identity, table=second.writes, part_rows=execution.part_rows) as then,
        ):
            if into is not None and then is not None:
                self._fill((into, then), execution, engines, first_made)
                return
        # Another process has finished one of them just now.
        first.make(folders[0], execution, engines)
        first_made()
        second.make(folders[1], execution, engines)

    def _fill(self, into: tuple[Unfinished, Unfinished], execution: Execution, engines: Engines, first_made: Callable[[], None]) -> None:
        source = self.first.source()
        self.second.check_fit(source)
        rows = self.first.rows_of(source)

        def opened() -> Generator:
            engine = self.first.opened(into[0], engines)
            into[1].accelerator = into[0].accelerator
            return engine

        def first_whole() -> None:
            finish(into[0], self.first.summary(source.manifest.rows))
            first_made()

        totals = {job.stage.stage_name: rows for job in (self.first, self.second)}
        with progress(totals, style=execution.progress, status=execution.status) as (of_first, of_second):
            lanes = Overlap(_lane(self.first, into[0], of_first), _lane(self.second, into[1], of_second), source.rows())
            lanes.stream(opened, first_whole=first_whole)
        finish(into[1], self.second.summary(rows))


def _lane(job: GeneratingJob, into: Unfinished, report: Report) -> Lane:
    return Lane(job.stage, into, job.author, report)
