"""Tokens per second of seed with vLLM, against bare calls of LLM.chat: with all prompts at once, and part by part."""

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch

import psutil
from corpus import write_prompts
from result import document, table
from small_model import CONTEXT, END, write_model

from sgpo_data.dataset import Dataset
from sgpo_data.engines import Sampling
from sgpo_data.engines.chat import load_chat
from sgpo_data.engines.vllm import CPU_CACHE_BYTES, SETTINGS, VllmEngine
from sgpo_data.execution import Execution
from sgpo_data.job import input_of, planned
from sgpo_data.model import Model, find_model
from sgpo_data.reading import Source
from sgpo_data.runner import Engines, do
from sgpo_data.sourced import read_prompts
from sgpo_data.stages import row_seed
from sgpo_data.stages.seed import Seed

if TYPE_CHECKING:
    from vllm import LLM

CHARACTERS = (40, 160)
"""Of a prompt: short, so that nearly all of the work is writing."""
SEPARATE = "VLLM_ENABLE_V1_MULTIPROCESSING"

OURS = "seed, everything written"

Answers = Mapping[str, tuple[str, int]]
"""Text and number of tokens, by prompt_id; without the half of a character that an answer cut at `max_tokens` may end in, which vLLM leaves out."""
Side = Callable[[], Answers]
"""A way of answering all prompts."""


@dataclass(frozen=True)
class Scale:
    """How much is done."""

    rows: int
    part_rows: int
    max_tokens: int
    repeats: int

    @property
    def end_chance(self) -> float:
        """One answer in ten has ended by a tenth of `max_tokens`, and more than one in ten goes on to the last: a spread of 10:1."""
        return 1 - 0.9 ** (10 / self.max_tokens)

    @property
    def how(self) -> Execution:
        """A window of one part, so that bare calls part by part have as many rows under way."""
        return Execution(part_rows=self.part_rows, window=self.part_rows, progress="none")


def seeded(prompts: Dataset, model: Model, stage: Seed, engines: Engines, *, how: Execution) -> Answers:
    """The answers of our stage, written to disk and read back."""
    job = planned(stage, input_of(prompts, str(prompts.folder)), model=model)
    with tempfile.TemporaryDirectory(prefix="sgpo-seed-") as folder:
        made = do(job, Path(folder, "responses"), how, engines=engines)
        return {row["prompt_id"]: ((row["response"] or "").rstrip("\ufffd"), row["sampled_tokens"] or 0) for row in made.rows()}


def bare_engine(model: Path, how: Execution) -> "LLM":
    """The engine of LLM.chat, with the settings that ours has on a CPU."""
    from vllm import LLM

    return LLM(
        model=str(model),
        dtype="float32",
        max_model_len=CONTEXT,
        max_num_seqs=how.window,
        max_num_batched_tokens=how.batch_tokens,
        kv_cache_memory_bytes=CPU_CACHE_BYTES,
        enforce_eager=True,
        enable_chunked_prefill=False,
        generation_config="vllm",
        use_tqdm_on_load=False,
    )


def chatted(llm: "LLM", prompts: Dataset, stage: Seed, *, call_rows: int, logprobs: int | None = None) -> Answers:
    """The answers of LLM.chat, called with this many prompts at once, each with the seed that it has in our stage."""
    from vllm import SamplingParams

    shared = stage.sampling.model_dump(exclude={"seed"})
    rows = list(prompts.rows())
    seeds = [row_seed(stage.sampling.seed, stage.stage_name, (row["prompt_id"], 0)) for row in rows]
    params = [SamplingParams(**shared, seed=seed, stop_token_ids=[END], logprobs=logprobs) for seed in seeds]
    outputs = []
    for at in range(0, len(rows), call_rows):
        outputs += llm.chat([row["messages"] for row in rows[at : at + call_rows]], params[at : at + call_rows], use_tqdm=False)
    answers = [output.outputs[0] for output in outputs]
    return {row["prompt_id"]: (answer.text.rstrip("\ufffd"), len(answer.token_ids)) for row, answer in zip(rows, answers, strict=True)}


class Spent(NamedTuple):
    """Seconds that a side took."""

    wall: float
    processor: float
    """Of this process and those it has started; steadier than the wall where other work goes on."""


def clock() -> Spent:
    """What has been spent by now."""
    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children(recursive=True))]
    return Spent(perf_counter(), sum(each.user + each.system for each in times))


def rounds(sides: Mapping[str, Side], repeats: int) -> tuple[dict[str, list[Spent]], dict[str, Answers]]:
    """What each side took in each of several rounds of all of them, the order turned from round to round; and its answers."""
    found: dict[str, list[Spent]] = {name: [] for name in sides}
    answers: dict[str, Answers] = {}
    for repeat in range(repeats):
        order = list(sides)
        for name in order[repeat % len(order) :] + order[: repeat % len(order)]:
            began = clock()
            answers[name] = sides[name]()
            ended = clock()
            found[name].append(Spent(ended.wall - began.wall, ended.processor - began.processor))
    return found, answers


def compared(spent: Mapping[str, list[Spent]], answers: Mapping[str, Answers]) -> list[dict[str, str]]:
    """A line for each side, each compared with the first."""
    first = next(iter(spent))
    tokens = {name: sum(count for _, count in given.values()) for name, given in answers.items()}

    def against(name: str, seconds: Callable[[Spent], float]) -> str:
        pairs = zip(spent[first], spent[name], strict=True)
        return f"{median(tokens[first] / seconds(ours) * seconds(theirs) / tokens[name] for ours, theirs in pairs):.3f}"

    return [
        {
            "side": name,
            "tokens per second": f"{median(tokens[name] / each.wall for each in took):,.0f}",
            "first row against it": against(name, lambda each: each.wall),
            "by processor time": against(name, lambda each: each.processor),
            "same answers": f"{sum(answers[name][key] == answer for key, answer in answers[first].items())} of {len(answers[first])}",
        }
        for name, took in spent.items()
    ]


def spread(answers: Answers) -> str:
    """How long the answers are."""
    lengths = [count for _, count in answers.values()]
    tenths = quantiles(lengths, n=10)
    mean = sum(lengths) / len(lengths)
    return f"{len(lengths):,} answers of {mean:.0f} tokens on average, of {tenths[0]:.0f} to {tenths[-1]:.0f} between the 10th and the 90th percentile"


def measured(scale: Scale) -> tuple[dict[str, list[Spent]], dict[str, Answers]]:
    """What each side took in each round, and its answers."""
    stage = Seed(engine="vllm", dtype="float32", sampling=Sampling(temperature=1, top_p=1, max_tokens=scale.max_tokens))
    with tempfile.TemporaryDirectory(prefix="sgpo-vllm-") as folder, closing(Engines(scale.how)) as engines:
        weights = write_model(Path(folder, "model"), end_chance=scale.end_chance)
        model = find_model(str(weights))
        here = bare_engine(weights, scale.how)
        with patch.dict(os.environ, {SEPARATE: "1"}):
            apart = bare_engine(weights, scale.how)
        # One engine for all sides of this process, so that they differ in the feeding alone.
        ours = VllmEngine(here.llm_engine, load_chat(weights), stop_ids=frozenset([END]), context_tokens=CONTEXT, window=scale.part_rows)

        def sides(rows: int) -> dict[str, Side]:
            path = write_prompts(Path(folder, f"{rows}.jsonl"), rows, characters=CHARACTERS)
            prompts = read_prompts(str(path), Source(), Execution(root=Path(folder, "runs")))
            return {
                OURS: partial(seeded, prompts, model, stage, engines, how=scale.how),
                "LLM.chat, all prompts": partial(chatted, here, prompts, stage, call_rows=rows),
                "the same, its engine in a process of its own": partial(chatted, apart, prompts, stage, call_rows=rows),
                "the same, with the log-probability of each token": partial(chatted, here, prompts, stage, call_rows=rows, logprobs=0),
                "LLM.chat, part by part": partial(chatted, here, prompts, stage, call_rows=scale.part_rows),
            }

        with patch("sgpo_data.runner.open_engine", lambda *_, **__: ours):
            rounds(sides(8), 1)
            return rounds(sides(scale.rows), scale.repeats)


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1024, help="Prompts.")
    arguments.add_argument("--repeats", type=int, default=3, help="Rounds of all sides.")
    arguments.add_argument("--quick", action="store_true", help="Four parts of 24 rows, short answers, one round.")
    given = arguments.parse_args()
    scale = Scale(96, 24, 32, 1) if given.quick else Scale(given.rows, 256, 192, given.repeats)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    spent, answers = measured(scale)
    about = (
        f"{spread(answers[OURS])}; parts of {scale.part_rows} rows, as many under way; float32; medians over rounds, of which there were {scale.repeats}. "
        "Every side gives each row the same seed."
    )
    print(document("seed with vLLM against LLM.chat", about, table(compared(spent, answers))))


if __name__ == "__main__":
    main()
