"""Tokens per second of score-ppl, against length-sorted padded batches and vLLM's prompt log-probabilities, as a share of the peak; and its memory."""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch
from result import document, table
from transformers import LlamaConfig, LlamaForCausalLM
from word_model import word_config, word_tokenizer, write_model

from sgpo_data.engines import Scorer, ScoreRequest
from sgpo_data.engines.chat import AnswerReader, Chat, load_chat
from sgpo_data.engines.local.padded import Padded
from sgpo_data.engines.local.transformers import TransformersEngine
from sgpo_data.engines.local.trees import Tree
from sgpo_data.engines.vllm.engine import VllmEngine
from sgpo_data.execution import Execution
from sgpo_data.rows import Message

ANSWERS = 3
"""To each prompt, as a row has response, improved and reference."""
BUDGETS = (2048, 16384)
"""Tokens at once that each alternative is tried with; the better one counts."""
WINDOW = 256
GOALS = {"of ideal": 0.85, "share of peak": 0.70}

Nats = Mapping[tuple[str, int], tuple[float, int]]
"""Nats and tokens of each answer, by its row and place."""
Side = Callable[[Sequence[ScoreRequest]], Nats]
"""A way of scoring."""
CLOCKS = {"wall": perf_counter, "cpu": process_time}
Timer = Callable[[Callable[[], object]], float]
"""Seconds of one call."""


@dataclass(frozen=True)
class Scale:
    """How much is done."""

    models: tuple[tuple[int, int], ...]
    """Width and layers of each."""
    answer_tokens: int
    """On average; half of it to one and a half times."""
    rows: int
    rounds: int
    memory_tokens: int
    """At once, while memory is measured."""


FULL = Scale(models=((512, 12), (1024, 12)), answer_tokens=256, rows=8, rounds=5, memory_tokens=Execution().batch_tokens)
QUICK = Scale(models=((512, 12),), answer_tokens=128, rows=4, rounds=3, memory_tokens=4096)


def requests(rows: int, *, answer_tokens: int, prompt_ratio: int, vocabulary: int) -> list[ScoreRequest]:
    """Rows of random words, always the same; a prompt is `prompt_ratio` times as long as its answers are on average."""
    dice = random.Random(0)

    def words(count: int) -> str:
        return " ".join(f"w{dice.randrange(3, vocabulary)}" for _ in range(count))

    found = []
    for row in range(rows):
        # The end of turn is an answer's last token; a prompt has three tokens of the template.
        counts = [dice.randint(answer_tokens // 2, answer_tokens * 3 // 2) for _ in range(ANSWERS)]
        prompt = [Message(role="user", content=words(sum(counts) * prompt_ratio // ANSWERS - 3))]
        found.append(ScoreRequest((f"p{row}", 0, "policy"), prompt, tuple(words(count - 1) for count in counts)))
    return found


def trees(chat: Chat, asked: Sequence[ScoreRequest]) -> list[Tree]:
    """The ids of the requests."""
    reader = AnswerReader(chat)
    return [
        Tree(row, False, chat.prompt_ids(request.messages) or [], tuple(enumerate(each.answer for each in reader.renderings(request) if each)))
        for row, request in enumerate(asked)
    ]


def engine_side(engine: Scorer) -> Side:
    """Scoring as the stage has it done, from texts to numbers."""

    def score(asked: Sequence[ScoreRequest]) -> Nats:
        return {(scored.key[0], place): (one.nll or 0.0, one.tokens) for scored in engine.score(asked) for place, one in enumerate(scored.likelihoods)}

    return score


def padded_side(model: LlamaForCausalLM, chat: Chat, budget: int) -> Side:
    """Answers sorted by length, padded to the longest of a batch, each with its prompt; logits for answers only."""
    way = Padded(model)

    def score(asked: Sequence[ScoreRequest]) -> Nats:
        found = {}
        for batch in way.batches(trees(chat, asked), budget):
            for one, nll in zip(batch, way.nats(batch).tolist(), strict=True):
                ((place, ids),) = one.answers
                found[f"p{one.request}", place] = (nll, len(ids))
        return found

    return score


def needed_operations(config: LlamaConfig, forest: Sequence[Tree]) -> float:
    """Multiplications and additions that cannot be left out: of matrices and of what attention sees, no more."""
    assert config.num_key_value_heads is not None
    width, keys = config.hidden_size, config.hidden_size * config.num_key_value_heads // config.num_attention_heads
    layer = 2 * width * width + 2 * width * keys + 3 * width * config.intermediate_size
    operations = 0.0
    for tree in forest:
        prompt, fed = len(tree.prompt), [len(ids) - 1 for _, ids in tree.answers]
        seen = prompt * (prompt + 1) / 2 + sum(count * prompt + count * (count + 1) / 2 for count in fed)
        # The first token of every answer is read off the same state.
        read = 1 + sum(fed)
        operations += 2 * config.num_hidden_layers * (layer * tree.tokens + 2 * width * seen) + 2 * width * config.vocab_size * read
    return operations


def timed(clock: Callable[[], float], work: Callable[[], object]) -> float:
    """Seconds of one call, by this clock."""
    begin = clock()
    work()
    return clock() - begin


def peak(dtype: torch.dtype, config: LlamaConfig, seconds: Timer) -> float:
    """Operations per second of a matrix product: the best of a large square one and of the model's own."""
    best = 0.0
    for rows, inner, columns in ((4096, 2048, 2048), (4096, config.hidden_size, config.intermediate_size)):
        left, right = torch.randn(rows, inner, dtype=dtype), torch.randn(columns, inner, dtype=dtype)
        for _ in range(4):
            best = max(best, 2 * rows * inner * columns / seconds(partial(torch.nn.functional.linear, left, right)))
    return best


def fastest(sides: Sequence[Side], asked: Sequence[ScoreRequest], seconds: Timer) -> Side:
    """The side that takes least, each warmed up."""
    for side in sides:
        side(asked[:1])
    return min(sides, key=lambda side: seconds(partial(side, asked)))


def speeds(folder: Path, scale: Scale, dtype: str, timer: Timer) -> list[dict[str, object]]:
    """One row for each length of prompts."""
    context = scale.answer_tokens * 8
    model = LlamaForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()  # type: ignore[no-untyped-call]
    chat = load_chat(folder)
    ours = engine_side(TransformersEngine(model, chat, context_tokens=context, batch_tokens=Execution().batch_tokens, window=WINDOW))
    engines = [
        VllmEngine.load(folder, dtype=dtype, context_tokens=context, adapter=None, device="cpu", batch_tokens=budget, window=WINDOW) for budget in BUDGETS
    ]
    try:
        return [
            speed(
                requests(scale.rows, answer_tokens=scale.answer_tokens, prompt_ratio=ratio, vocabulary=model.config.vocab_size),
                {
                    "ours": [ours],
                    "padded": [padded_side(model, chat, budget) for budget in BUDGETS],
                    "vllm": [engine_side(engine) for engine in engines],
                },
                model=model,
                chat=chat,
                rounds=scale.rounds,
                timer=timer,
            )
            | {"prompts": f"{ratio} x answers"}
            for ratio in (1, 4)
        ]
    finally:
        for engine in engines:
            engine.close()


def speed(
    asked: Sequence[ScoreRequest], ways: Mapping[str, Sequence[Side]], *, model: LlamaForCausalLM, chat: Chat, rounds: int, timer: Timer
) -> dict[str, object]:
    """All sides in turn, round after round; ratios are of one round, and their median counts."""
    forest = trees(chat, asked)
    tokens, single = sum(tree.tokens for tree in forest), sum(one.tokens for tree in forest for one in tree.single())
    sides = {name: fastest(tried, asked[: -(-len(asked) // 3)], timer) for name, tried in ways.items()}
    values = {name: side(asked) for name, side in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    peaks = [peak(model.dtype, model.config, timer)]
    for round_ in range(rounds):
        for name, side in list(sides.items())[:: -1 if round_ % 2 else 1]:
            seconds[name].append(timer(partial(side, asked)))
        peaks.append(peak(model.dtype, model.config, timer))
        print(f"round {round_ + 1} of {rounds}: {', '.join(f'{name} {found[-1]:.2f} s' for name, found in seconds.items())}", file=sys.stderr)
    faster = [min(padded, vllm) / ours for ours, padded, vllm in zip(*seconds.values(), strict=True)]
    apart = max(abs(nll - values[name][key][0]) / count for name in values for key, (nll, count) in values["ours"].items())
    operations = needed_operations(model.config, forest)
    return {
        "weights": f"{sum(weight.numel() for weight in model.parameters()) / 1e6:.0f} M",
        "prompts": "",
        "tokens needed": tokens,
        "tokens per second": f"{tokens / median(seconds['ours']):,.0f}",
        "x padded": f"{median(map(_ratio, seconds['padded'], seconds['ours'])):.2f}",
        "x vLLM": f"{median(map(_ratio, seconds['vllm'], seconds['ours'])):.2f}",
        "ideal": f"{single / tokens:.2f}",
        "of ideal": f"{median(faster) / (single / tokens):.2f}",
        "share of peak": f"{operations / median(seconds['ours']) / max(peaks):.0%} of {max(peaks) / 1e9:,.0f} G/s",
        "nats per token apart": f"{apart:.1e}",
    }


def _ratio(one: float, other: float) -> float:
    return one / other


MEMORY_VOCABULARY = 150_000
MEMORY_SIDES = ("ours", "padded")


def memory_of(name: str, answer_tokens: int, batch_tokens: int) -> int:
    """MiB that scoring adds at its peak to this process, which does nothing else."""
    config = word_config(hidden=256, layers=2, vocabulary=MEMORY_VOCABULARY, context=answer_tokens * 8)
    model, chat = LlamaForCausalLM(config).eval(), Chat(word_tokenizer(MEMORY_VOCABULARY), place="memory")  # type: ignore[no-untyped-call]
    engine = TransformersEngine(model, chat, context_tokens=answer_tokens * 8, batch_tokens=batch_tokens, window=WINDOW)
    side = engine_side(engine) if name == "ours" else padded_side(model, chat, batch_tokens)
    # As many rows as fill the budget with either side.
    asked = requests(-(-batch_tokens // (2 * answer_tokens)), answer_tokens=answer_tokens, prompt_ratio=1, vocabulary=MEMORY_VOCABULARY)
    side(requests(1, answer_tokens=8, prompt_ratio=1, vocabulary=MEMORY_VOCABULARY))
    # Reading the model took more than it now holds: from here on the peak counts anew.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmHWM")
    side(asked)
    return (resident("VmHWM") - before) // 1024


def resident(name: str) -> int:
    """KiB of this process under this name of proc(5)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def memories(scale: Scale) -> list[dict[str, object]]:
    """One row for each length of answers, each number by a process of its own."""
    found: list[dict[str, object]] = []
    for answer_tokens in (scale.answer_tokens, scale.answer_tokens * 4):
        row: dict[str, object] = {"tokens of an answer": answer_tokens, "tokens at once": scale.memory_tokens}
        for name in MEMORY_SIDES:
            command = [sys.executable, __file__, "--memory-of", name, str(answer_tokens), str(scale.memory_tokens)]
            row[f"{name}, MiB"] = f"{int(subprocess.run(command, check=True, capture_output=True, text=True).stdout):,}"
        found.append(row)
    return found


def report(scale: Scale, dtype: str, clock: str) -> str:
    """The tables, and what they show."""
    rows = []
    for hidden, layers in scale.models:
        with tempfile.TemporaryDirectory() as folder:
            config = word_config(hidden=hidden, layers=layers, vocabulary=16_000, context=scale.answer_tokens * 8)
            rows += speeds(write_model(Path(folder), config), scale, dtype, partial(timed, CLOCKS[clock]))
    from vllm import __version__ as vllm_version

    return document(
        "score-ppl",
        f"{scale.rows} rows of {ANSWERS} answers of {scale.answer_tokens} tokens on average; {torch.get_num_threads()} threads, {dtype}; {clock} time, "
        f"medians of {scale.rounds} rounds; vLLM {vllm_version}. Ideal is the tokens that the alternatives compute over those that are needed; of ideal, the "
        f"gain over the faster one as a part of it (goal {GOALS['of ideal']}). The share is of a measured matrix product, and counts only operations that "
        f"are needed (goal {GOALS['share of peak']:.0%}).",
        table(rows),
        f"Memory that scoring adds, at a vocabulary of {MEMORY_VOCABULARY:,}:",
        table(memories(scale)),
    )


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes in place of half an hour; too short to be quoted")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of torch, for all sides")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--clock", default="wall", choices=CLOCKS, help="cpu counts the time of this process alone: for one thread beside busy neighbours")
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        name, answer_tokens, batch_tokens = arguments.memory_of
        print(memory_of(name, int(answer_tokens), int(batch_tokens)))
        return
    print(report(QUICK if arguments.quick else FULL, arguments.dtype, arguments.clock))


if __name__ == "__main__":
    main()
