"""Seconds of bookkeeping of a dataset in many parts: planning and writing them, resuming when all are there, and finishing."""

import argparse
import json
import tempfile
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

from corpus import write_prompts
from result import document, table
from stream import InstantEngine

from sgpo_data.execution import Execution
from sgpo_data.running.runner import run
from sgpo_data.stages.seed import Seed
from sgpo_data.store import resume
from sgpo_data.store.dataset import Dataset, faults
from sgpo_data.store.parts import Plan
from sgpo_data.store.unfinished import StageSummary, Unfinished


class Killed(BaseException):
    """In place of a kill, where all parts are written and the manifest is not."""


class Moments:
    """When the command reached what, in seconds since it began."""

    def __init__(self) -> None:
        self._began = perf_counter()
        self.taken_up = self.filled = self.ended = 0.0

    def now(self) -> float:
        """Seconds since the beginning."""
        return perf_counter() - self._began


def moments(source: Path, place: Path, *, part_rows: int, kill: bool) -> Moments:
    """Of one command, killed before the manifest or not."""
    at, out = Moments(), place / "out"
    begin, finish = resume._begin, resume.finish

    def begun(folder: Path, wanted: Plan) -> Unfinished:
        left = begin(folder, wanted)
        # The rows of the source are a dataset before it.
        if folder == out:
            at.taken_up = at.now()
        return left

    def finished(into: Unfinished, found: StageSummary) -> Dataset:
        if into.folder == out:
            at.filled = at.now()
            if kill:
                raise Killed
        return finish(into, found)

    engine = InstantEngine("does nothing with the prompt", lambda messages: None)
    how = Execution(root=place / "runs", part_rows=part_rows, progress="none")
    with patch.object(resume, "_begin", begun), patch.object(resume, "finish", finished):
        try:
            dataset = run(Seed(), str(source), model=str(place / "model"), execution=how, out=out, open_model=lambda *_: engine)
        except Killed:
            return at
    at.ended = at.now()
    assert faults(dataset) == []
    return at


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--parts", type=int, default=20_000, help="Parts of the dataset.")
    arguments.add_argument("--part-rows", type=int, default=1, help="Rows of a part.")
    arguments.add_argument("--quick", action="store_true", help="200 parts.")
    given = arguments.parse_args()
    parts = 200 if given.quick else given.parts
    with tempfile.TemporaryDirectory(prefix="sgpo-parts-") as folder:
        place = Path(folder)
        (place / "model").mkdir()
        (place / "model/config.json").write_text(json.dumps({"max_position_embeddings": 4096, "dtype": "float32"}))
        source = write_prompts(place / "prompts.jsonl", parts * given.part_rows)
        first = moments(source, place, part_rows=given.part_rows, kill=True)
        second = moments(source, place, part_rows=given.part_rows, kill=False)
    seconds = {
        "read the source and plan": first.taken_up,
        "make and write all parts": first.filled - first.taken_up,
        "after a kill, the same command verifies all parts": second.taken_up,
        "goes over the rows and finds all there": second.filled - second.taken_up,
        "writes the manifest": second.ended - second.filled,
    }
    lines = [{"what": what, "seconds": f"{found:.1f}", "ms a part": f"{1000 * found / parts:.2f}"} for what, found in seconds.items()]
    about = (
        f"`seed` into {parts:,} parts of {given.part_rows} row(s), with an engine that answers at once; the command is stopped before the manifest is written, "
        "and given again. Each part is checked against the schema, written, synced and named, and when it is taken up again read to its end and digested."
    )
    print(document("A dataset in many parts", about, table(lines)))


if __name__ == "__main__":
    main()
