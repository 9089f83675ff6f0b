"""Tokens per second of seed with vLLM, against bare calls of LLM.chat, and of seed with improve, as one stream and one after the other."""

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

from sgpo_data.engines import Sampling
from sgpo_data.engines.chat import load_chat
from sgpo_data.engines.vllm.engine import CPU_CACHE_BYTES, SETTINGS, VllmEngine
from sgpo_data.execution import Execution
from sgpo_data.references.model import Model, find_model
from sgpo_data.running.engines import Engines
from sgpo_data.running.overlap import OverlappingJobs
from sgpo_data.running.planning import planned
from sgpo_data.sources.options import Source
from sgpo_data.sources.prompts import read_prompts
from sgpo_data.stages import row_seed
from sgpo_data.stages.improve.improve import Improve
from sgpo_data.stages.seed import Seed
from sgpo_data.store.dataset import Dataset, open_dataset
from sgpo_data.store.input import input_of

if TYPE_CHECKING:
    from vllm import LLM

CHARACTERS = (40, 160)
"""Of a prompt: short, so that nearly all of the work is writing."""
SEPARATE = "VLLM_ENABLE_V1_MULTIPROCESSING"


@dataclass(frozen=True)
class Made:
    """What a side has made."""

    texts: Mapping[str, str]
    """The last text of each prompt, by its id; without the half of a character that an answer cut at `max_tokens` may end in, which vLLM leaves out."""
    tokens: int
    lengths: tuple[int, ...] = ()
    """Tokens of each answer, where that is known."""


Side = Callable[[], Made]
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
        return 1 - float(0.9 ** (10 / self.max_tokens))

    @property
    def how(self) -> Execution:
        """A window of one part, so that bare calls part by part have as many rows under way."""
        return Execution(part_rows=self.part_rows, window=self.part_rows, progress="none")


def seeded(prompts: Dataset, model: Model, stage: Seed, engines: Engines, *, how: Execution) -> Made:
    """The answers of our stage, written to disk and read back."""
    with tempfile.TemporaryDirectory(prefix="sgpo-seed-") as folder:
        made = planned(stage, input_of(prompts, str(prompts.folder)), model=model).make(Path(folder, "responses"), how, engines)
        rows = list(made.rows())
        return Made({row["prompt_id"]: _whole(row["response"]) for row in rows}, made.manifest.tokens, tuple(row["sampled_tokens"] or 0 for row in rows))


def rewritten(prompts: Dataset, model: Model, stage: Seed, engines: Engines, *, how: Execution, both: Callable[..., None]) -> Made:
    """The rewrites of the answers of our stage."""
    with tempfile.TemporaryDirectory(prefix="sgpo-improve-") as root:
        folders = Path(root, "responses"), Path(root, "improved")
        first = planned(stage, input_of(prompts, str(prompts.folder)), model=model)
        improve = Improve(engine=stage.engine, dtype=stage.dtype, role="improve", sampling=stage.sampling)
        jobs = OverlappingJobs.of(first, planned(improve, first.output(folders[0]), model=model))
        assert jobs is not None
        both(jobs, folders, how, engines)
        responses, improved = map(open_dataset, folders)
        return Made({row["prompt_id"]: _whole(row["improved"]) for row in improved.rows()}, responses.manifest.tokens + improved.manifest.tokens)


def one_after_the_other(jobs: OverlappingJobs, folders: tuple[Path, Path], execution: Execution, engines: Engines) -> None:
    """As OverlappingJobs.make, without the overlap."""
    jobs.first.make(folders[0], execution, engines)
    jobs.second.make(folders[1], execution, engines)


def _whole(text: str | None) -> str:
    return (text or "").rstrip("\ufffd")


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


def chatted(llm: "LLM", prompts: Dataset, stage: Seed, *, call_rows: int, logprobs: int | None = None) -> Made:
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
    texts = {row["prompt_id"]: _whole(answer.text) for row, answer in zip(rows, answers, strict=True)}
    return Made(texts, sum(len(answer.token_ids) for answer in answers))


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


def rounds(sides: Mapping[str, Side], repeats: int, *, forget: Callable[[], object]) -> tuple[dict[str, list[Spent]], dict[str, Made]]:
    """What each side took in each of several rounds of all of them, the order turned from round to round; and what it made.

    `forget` is called before each, so that none finds the prompts of the one before in the engine's cache.
    """
    spent: dict[str, list[Spent]] = {name: [] for name in sides}
    made: dict[str, Made] = {}
    for repeat in range(repeats):
        order = list(sides)
        for name in order[repeat % len(order) :] + order[: repeat % len(order)]:
            forget()
            began = clock()
            made[name] = sides[name]()
            ended = clock()
            spent[name].append(Spent(ended.wall - began.wall, ended.processor - began.processor))
    return spent, made


def compared(spent: Mapping[str, list[Spent]], made: Mapping[str, Made]) -> list[dict[str, str]]:
    """A line for each side, each compared with the first."""
    first = next(iter(spent))
    texts = made[first].texts

    def against(name: str, seconds: Callable[[Spent], float]) -> str:
        pairs = zip(spent[first], spent[name], strict=True)
        return f"{median(made[first].tokens / seconds(ours) * seconds(theirs) / made[name].tokens for ours, theirs in pairs):.3f}"

    return [
        {
            "side": name,
            "tokens per second": f"{median(made[name].tokens / each.wall for each in took):,.0f}",
            "first row against it": against(name, lambda each: each.wall),
            "by processor time": against(name, lambda each: each.processor),
            "same texts": f"{sum(made[name].texts[key] == text for key, text in texts.items())} of {len(texts)}",
        }
        for name, took in spent.items()
    ]


def spread(lengths: tuple[int, ...]) -> str:
    """How long the answers are."""
    tenths = quantiles(lengths, n=10)
    mean = sum(lengths) / len(lengths)
    return f"{len(lengths):,} answers of {mean:.0f} tokens on average, of {tenths[0]:.0f} to {tenths[-1]:.0f} between the 10th and the 90th percentile"


def measured(scale: Scale) -> list[tuple[dict[str, list[Spent]], dict[str, Made]]]:
    """What each side took in each round and what it made: of answering, and of answering and rewriting."""
    stage = Seed(engine="vllm", dtype="float32", sampling=Sampling(temperature=1, top_p=1, max_tokens=scale.max_tokens))
    with tempfile.TemporaryDirectory(prefix="sgpo-vllm-") as folder, closing(Engines(scale.how, open_model=lambda *_: ours)) as engines:
        weights = write_model(Path(folder, "model"), end_chance=scale.end_chance)
        model = find_model(str(weights))
        here = bare_engine(weights, scale.how)
        with patch.dict(os.environ, {SEPARATE: "1"}):
            apart = bare_engine(weights, scale.how)
        # One engine for all sides of this process, so that they differ in the feeding alone.
        ours = VllmEngine(here.llm_engine, load_chat(weights), stop_ids=frozenset([END]), context_tokens=CONTEXT, window=scale.part_rows)

        def sides(rows: int) -> tuple[dict[str, Side], dict[str, Side]]:
            path = write_prompts(Path(folder, f"{rows}.jsonl"), rows, characters=CHARACTERS)
            prompts = read_prompts(str(path), Source(), Execution(root=Path(folder, "runs")))
            return {
                "seed, everything written": partial(seeded, prompts, model, stage, engines, how=scale.how),
                "LLM.chat, all prompts": partial(chatted, here, prompts, stage, call_rows=rows),
                "the same, its engine in a process of its own": partial(chatted, apart, prompts, stage, call_rows=rows),
                "the same, with the log-probability of each token": partial(chatted, here, prompts, stage, call_rows=rows, logprobs=0),
                "LLM.chat, part by part": partial(chatted, here, prompts, stage, call_rows=scale.part_rows),
            }, {
                "seed and improve as one stream": partial(rewritten, prompts, model, stage, engines, how=scale.how, both=OverlappingJobs.make),
                "one after the other": partial(rewritten, prompts, model, stage, engines, how=scale.how, both=one_after_the_other),
            }

        for group in sides(8):
            rounds(group, 1, forget=here.reset_prefix_cache)
        return [rounds(group, scale.repeats, forget=here.reset_prefix_cache) for group in sides(scale.rows)]


def main() -> None:
    """Prints the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1024, help="Prompts.")
    arguments.add_argument("--repeats", type=int, default=3, help="Rounds of all sides.")
    arguments.add_argument("--quick", action="store_true", help="Four parts of 24 rows, short answers, one round.")
    given = arguments.parse_args()
    scale = Scale(96, 24, 32, 1) if given.quick else Scale(given.rows, 256, 192, given.repeats)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    groups = measured(scale)
    lengths = next(iter(groups[0][1].values())).lengths
    about = (
        f"{spread(lengths)}; parts of {scale.part_rows} rows, as many under way; float32; medians over rounds, of which there were {scale.repeats}. "
        "Every side gives each row the same seed."
    )
    print(document("seed with vLLM against LLM.chat", about, *(table(compared(*group)) for group in groups)))


if __name__ == "__main__":
    main()
