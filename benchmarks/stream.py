"""Rows per second of the row-wise stages with an engine that answers at once: reading, templating, journal and writing included."""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import ParamSpec, TypeVar
from unittest.mock import patch

from corpus import write_prompts
from result import document, table
from small_model import CONTEXT, small_tokenizer

from sgpo_data.engines import GenerateRequest, Generation, Likelihood, Scored, ScoreRequest
from sgpo_data.engines.chat import load_chat
from sgpo_data.execution import Execution
from sgpo_data.rows import Message
from sgpo_data.running.runner import run
from sgpo_data.schema import Schema
from sgpo_data.sources.options import Source
from sgpo_data.sources.prompts import read_prompts
from sgpo_data.stages import RowStage
from sgpo_data.stages.improve.improve import Improve
from sgpo_data.stages.score_ppl import ScorePpl
from sgpo_data.stages.seed import Seed
from sgpo_data.store import unfinished

ANSWER = "The list has all that was asked for, in the order that was asked for. " * 7
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class InstantEngine:
    """Prepares each prompt, and has its answer at once."""

    name: str
    prepare: Callable[[list[Message]], object]
    accelerator: str | None = None

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        """As `Generator.generate`; a stage alone always has a request."""
        for request in filter(None, requests):
            self.prepare(request.messages)
            yield Generation(request.key, ANSWER, "stop", nll=120.0, tokens=120)

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
        """As `Scorer.score`."""
        for request in requests:
            self.prepare(request.messages)
            yield Scored(request.key, tuple(Likelihood(120.0, 120) for _ in request.answers))

    def close(self) -> None:
        """Nothing to free."""


class Clock:
    """Seconds that went by in some calls, by the wall and of the processor."""

    def __init__(self) -> None:
        self.wall = self.processor = 0.0

    def timed(self, function: Callable[P, T]) -> Callable[P, T]:
        """The same function, its time counted."""

        def call(*given: P.args, **named: P.kwargs) -> T:
            wall, processor = perf_counter(), process_time()
            try:
                return function(*given, **named)
            finally:
                self.wall += perf_counter() - wall
                self.processor += process_time() - processor

        return call


@dataclass(frozen=True)
class Timing:
    """A stage over a dataset, and the reading of the source before it if it has one."""

    stage: str
    engine: str
    reading: Clock
    work: Clock
    closing: Clock
    """Part of the work: rows to Arrow, checked against the schema, written and synced."""


def timings(stages: list[RowStage], source: Path, engine: InstantEngine) -> Iterator[Timing]:
    """One for each stage, each over what the one before it wrote."""
    with tempfile.TemporaryDirectory(prefix="sgpo-stream-") as folder:
        model = Path(folder, "model")
        model.mkdir()
        (model / "config.json").write_text(json.dumps({"max_position_embeddings": CONTEXT, "dtype": "float32"}))
        how = Execution(root=Path(folder, "runs"), progress="none")
        given = str(source)
        for stage in stages:
            timing = Timing(stage.stage_name, engine.name, Clock(), Clock(), Clock())
            if given == str(source):
                timing.reading.timed(read_prompts)(given, Source(), how)
            with ExitStack() as closing:
                for owner, name in ((Schema, "check"), (unfinished, "arrow_table"), (unfinished, "write_parquet")):
                    closing.enter_context(patch.object(owner, name, timing.closing.timed(getattr(owner, name))))
                given = str(timing.work.timed(run)(stage, given, model=str(model), execution=how, open_model=lambda *_: engine).folder)
            yield timing


def told(timings: list[Timing], rows: int) -> dict[str, str]:
    """The median of several timings of the same, as rows per second."""

    def speed(seconds: Callable[[Timing], float]) -> str:
        found = median(seconds(timing) for timing in timings)
        return f"{rows / found:,.0f}" if found else ""

    return {
        "stage": timings[0].stage,
        "engine": timings[0].engine,
        "reading the source": speed(lambda timing: timing.reading.wall),
        "stream and engine": speed(lambda timing: timing.work.wall - timing.closing.wall),
        "closing parts": speed(lambda timing: timing.closing.wall),
        "everything": speed(lambda timing: timing.reading.wall + timing.work.wall),
        "everything, per processor second": speed(lambda timing: timing.reading.processor + timing.work.processor),
    }


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=100_000, help="Prompts.")
    arguments.add_argument("--repeats", type=int, default=3, help="Times that everything is done.")
    arguments.add_argument("--quick", action="store_true", help="10,000 rows, once.")
    given = arguments.parse_args()
    rows, repeats = (10_000, 1) if given.quick else (given.rows, given.repeats)
    with tempfile.TemporaryDirectory(prefix="sgpo-source-") as folder:
        small_tokenizer().save_pretrained(folder)
        chat = load_chat(Path(folder))
        render = partial(chat.tokenizer.apply_chat_template, add_generation_prompt=True, tokenize=False)
        plan: list[tuple[list[RowStage], InstantEngine]] = [
            ([Seed()], InstantEngine("does nothing with the prompt", lambda messages: None)),
            ([Seed(), Improve(), ScorePpl()], InstantEngine("renders the chat template", render)),
            ([Seed()], InstantEngine("renders and tokenises", chat.prompt_ids)),
        ]
        small, large = (write_prompts(Path(folder, f"{count}.jsonl"), count) for count in (256, rows))
        for stages, engine in plan:
            list(timings(stages, small, engine))
        found = [[timing for stages, engine in plan for timing in timings(stages, large, engine)] for _ in range(repeats)]
    lines = [told(list(same), rows) for same in zip(*found, strict=True)]
    about = (
        f"{rows:,} prompts of 200 to 800 characters with references, from a JSON Lines file; parts of {Execution().part_rows} rows. "
        f"Rows per second, median of {repeats}. The engine answers at once, with {len(ANSWER)} characters, after what the column says."
    )
    print(document("The stages without a model", about, table(lines)))


if __name__ == "__main__":
    main()
