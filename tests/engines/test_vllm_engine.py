import gc
import importlib.util
import json
import math
import os
import shutil
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from renderings import answer_ids
from tiny_model import CHATML, CONTEXT, END, SPECIAL, question, sampled, tiny_config, tiny_tokenizer, write_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from sgpo_data.engines import GenerateRequest, Generation, Sampling, ScoreRequest
from sgpo_data.engines.chat import load_chat
from sgpo_data.engines.copies.replicas import Replicas
from sgpo_data.engines.loading import weights_loading
from sgpo_data.engines.local.transformers import TransformersEngine
from sgpo_data.engines.opening import open_engine
from sgpo_data.engines.vllm.engine import VllmEngine
from sgpo_data.errors import EngineError, MissingExtraError, ModelError, RecipeError, SgpoError
from sgpo_data.execution import Execution
from sgpo_data.loop.loop import run_recipe
from sgpo_data.rows import Message
from sgpo_data.toy.model import base_model

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vllm is not installed", allow_module_level=True)

FREE = Sampling(temperature=1.0, top_p=1.0, max_tokens=24)
USUAL = Sampling(temperature=0.7, top_p=0.9, top_k=40, max_tokens=24)
GREEDY = Sampling(temperature=0, max_tokens=24)


def small(vocabulary: int) -> LlamaConfig:
    """With heads of 32 dimensions, the smallest that the CPU kernels of vLLM know."""
    return LlamaConfig.from_dict(tiny_config(vocabulary).to_dict() | {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), config=small(len(tiny_tokenizer())))


def load(folder: Path, *, window: int = 64, batch_tokens: int = 1024, adapter: Path | None = None, device: str = "auto") -> VllmEngine:
    return VllmEngine.load(folder, dtype="float32", context_tokens=CONTEXT, adapter=adapter, device=device, batch_tokens=batch_tokens, window=window)


class Kept:
    """The engine of the tests that change nothing of it, which takes seconds to load."""

    def __init__(self) -> None:
        self.engine: VllmEngine | None = None

    def close(self) -> None:
        if self.engine is not None:
            self.engine.close()
        self.engine = None


@pytest.fixture(scope="module")
def kept() -> Iterator[Kept]:
    holder = Kept()
    yield holder
    holder.close()


@pytest.fixture(autouse=True)
def alone(request: pytest.FixtureRequest, kept: Kept) -> None:
    """A test that loads an engine of its own has it for itself."""
    if "engine" not in request.fixturenames:
        kept.close()


@pytest.fixture
def engine(folder: Path, kept: Kept) -> VllmEngine:
    kept.engine = kept.engine or load(folder, window=11)
    return kept.engine


@pytest.fixture(scope="module")
def other(folder: Path) -> TransformersEngine:
    return TransformersEngine.load(folder, dtype="float32", context_tokens=None, adapter=None, device="cpu", batch_tokens=4000, window=64)


def requests(rows: int) -> list[GenerateRequest]:
    return [GenerateRequest((f"p{row}", 0), question("is the list " + "in " * (row * 5 % 17)), seed=2**62 + row * 7919, sampling=FREE) for row in range(rows)]


def found(generations: Iterator[Generation]) -> dict[str, Generation]:
    return {generation.key[0]: generation for generation in generations}


def test_greedy_answers_and_their_likelihoods_are_those_of_transformers(engine: VllmEngine, other: TransformersEngine) -> None:
    ours, theirs = found(engine.generate(sampled(requests(40), GREEDY))), found(other.generate(sampled(requests(40), GREEDY)))
    assert len(ours) == len(theirs) == 40
    assert len({generation.text for generation in ours.values()}) > 5
    for key, one in theirs.items():
        assert (ours[key].text, ours[key].finish, ours[key].tokens) == (one.text, one.finish, one.tokens)
        assert one.nll is not None
        assert one.tokens is not None
        assert ours[key].nll == pytest.approx(one.nll, abs=1e-3 * one.tokens)


def test_nll_is_at_temperature_one_before_top_p_and_counts_the_end_of_turn(tmp_path: Path) -> None:
    # Every text of whole words has one list of ids.
    words = Tokenizer(
        models.WordLevel({**{token: index for index, token in enumerate(SPECIAL)}, **{f"w{word}": word + 5 for word in range(30)}}, unk_token="w0")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, chat_template=CHATML, **special)  # type: ignore[no-untyped-call]
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "</s>"]})
    folder = write_model(tmp_path, tokenizer=tokenizer, config=small(len(tokenizer)), stop_ids=[END])
    loaded = load(folder)
    asked = [GenerateRequest((f"p{row}", 0), question("w1 w2 w3"), seed=row, sampling=FREE) for row in range(200)]
    answers = list(loaded.generate(sampled(asked, Sampling(temperature=1.5, top_p=0.95, max_tokens=60))))
    scores = {
        scored.key[:2]: scored.likelihoods[0]
        for scored in loaded.score(ScoreRequest((*one.key, "policy"), question("w1 w2 w3"), (one.text or "",)) for one in answers)
    }
    loaded.close()
    # A special token in the middle of an answer is not in its text.
    same = [one for one in answers if one.finish == "stop" and scores[one.key].tokens == one.tokens]
    assert len(same) >= 5
    for one in same:
        assert scores[one.key].nll == pytest.approx(one.nll, rel=1e-4)


@pytest.mark.parametrize("sampling", [FREE, USUAL])
def test_answer_depends_on_its_prompt_and_seed_alone(engine: VllmEngine, sampling: Sampling) -> None:
    first, again = found(engine.generate(sampled(requests(30), sampling))), found(engine.generate(sampled(reversed(requests(30)), sampling)))
    (alone,) = engine.generate(sampled(requests(30)[7:8], sampling))
    assert {key: one.text for key, one in first.items()} == {key: one.text for key, one in again.items()}
    assert alone.text == first["p7"].text
    seeds = [GenerateRequest(("p", seed), question("is the list"), seed, sampling=FREE) for seed in range(20)]
    assert len({one.text for one in engine.generate(sampled(seeds, FREE))}) > 15


def test_rows_of_one_stream_are_drawn_each_as_its_request_says(engine: VllmEngine) -> None:
    ways = (FREE, USUAL, GREEDY.model_copy(update={"max_tokens": 60}))
    mixed = found(engine.generate(replace(request, sampling=ways[row % len(ways)]) for row, request in enumerate(requests(30))))
    for way, sampling in enumerate(ways):
        alone = found(engine.generate(sampled(requests(30), sampling)))
        assert [mixed[f"p{row}"].text for row in range(way, 30, len(ways))] == [alone[f"p{row}"].text for row in range(way, 30, len(ways))]


def test_answers_are_the_same_when_few_prompts_fit_in_a_step(engine: VllmEngine, kept: Kept, folder: Path) -> None:
    expected = found(engine.generate(sampled(requests(40), FREE)))
    kept.close()
    narrow = load(folder, batch_tokens=1)
    ours = found(narrow.generate(sampled(requests(40), FREE)))
    scores = list(narrow.score(ScoreRequest((f"p{row}", 0, "policy"), question("the " * row), ("is",)) for row in range(60)))
    narrow.close()
    assert {key: one.text for key, one in ours.items()} == {key: one.text for key, one in expected.items()}
    assert all(scored.likelihoods[0].nll is not None for scored in scores)


def test_draws_no_more_than_the_window_and_gives_back_while_others_run(engine: VllmEngine) -> None:
    drawn, most = 0, 0

    def counted() -> Iterator[GenerateRequest]:
        nonlocal drawn
        for row, request in enumerate(requests(40)):
            drawn += 1
            yield request if row % 7 else GenerateRequest(request.key, question("is " * 200), seed=1, sampling=FREE)

    tokens = []
    for yielded, one in enumerate(engine.generate(sampled(counted(), Sampling(temperature=2, top_p=1, max_tokens=60)))):
        most = max(most, drawn - yielded)
        assert drawn - yielded <= 11
        tokens.append(one.tokens)
        if yielded == 0:
            # The row that was drawn last has not been computed at all yet.
            assert drawn <= 11
    assert (drawn, most) == (40, 11)
    finished = [each for each in tokens if each is not None]
    assert finished[0] < 60
    assert finished[-1] >= finished[0]


def test_iterator_that_is_dropped_leaves_the_engine_usable(engine: VllmEngine) -> None:
    stream = engine.generate(sampled(requests(30), FREE))
    next(stream)
    del stream
    gc.collect()
    assert len(found(engine.generate(sampled(requests(12), GREEDY)))) == 12


def test_prompt_too_long_for_the_context_is_a_result(engine: VllmEngine, folder: Path) -> None:
    chat = load_chat(folder)
    rows = [question("is the list of the answer" + " in" * words) for words in range(0, 200, 4)]
    lengths = [len(chat.prompt_ids(row) or []) for row in rows]
    asked = [GenerateRequest((str(length), 0), row, 3, sampling=FREE) for length, row in zip(lengths, rows, strict=True)]
    results = found(engine.generate(asked))
    assert any(length < CONTEXT for length in lengths)
    assert any(length > CONTEXT for length in lengths)
    for length in lengths:
        one = results[str(length)]
        if length >= CONTEXT:
            assert one == Generation((str(length), 0), text=None, finish="too_long", nll=None, tokens=None)
        else:
            assert one.tokens is not None
            assert one.tokens <= min(24, CONTEXT - length)


def test_refusal_is_a_row_whether_of_the_template_or_of_the_engine(engine: VllmEngine) -> None:
    asked = [
        GenerateRequest(("role", 0), [Message(role="refused", content="x")], seed=1, sampling=FREE),
        GenerateRequest(("empty", 0), [], seed=1, sampling=FREE),
        *requests(2),
    ]
    context, engine.context_tokens = engine.context_tokens, 10**6
    try:
        results = found(engine.generate(sampled([GenerateRequest(("long", 0), question("is " * 200), seed=1, sampling=FREE), *asked], FREE)))
    finally:
        engine.context_tokens = context
    assert {key: one.finish for key, one in results.items() if key in ("role", "empty", "long")} == dict.fromkeys(("role", "empty", "long"), "refused")
    assert len(results) == 5
    assert results["long"] == Generation(("long", 0), text=None, finish="refused", nll=None, tokens=None)


def test_scores_are_those_of_transformers(engine: VllmEngine, other: TransformersEngine, folder: Path) -> None:
    chat = load_chat(folder)
    prompt = question("is the answer in the list")
    room = CONTEXT - len(chat.prompt_ids(prompt) or [])
    # An answer of exactly the room and one of a token more.
    fits = next("in" * words for words in range(200) if len(answer_ids(chat, "in" * words)) == room)
    asked = [ScoreRequest((f"p{row}", 0, "policy"), question("the " * row), ("the list", "", "is " * row)) for row in range(20)]
    asked += [
        ScoreRequest(("edge", 0, "policy"), prompt, (fits, fits + "in", "<|im_end|>")),
        ScoreRequest(("none", 0, "policy"), [Message(role="refused", content="x")], ("a",)),
        ScoreRequest(("nothing", 0, "policy"), prompt, ()),
        ScoreRequest(("empty", 0, "improver"), prompt, ("", "")),
        ScoreRequest(("unicode", 0, "policy"), question("Grüße, 世界 🙂"), ("naïve 🙂 answer", "世界", "the list\n\n", "naïve 🙂 answer")),
        ScoreRequest(("all too long", 0, "policy"), question("is " * 200), ("a", "")),
    ]
    ours = {scored.key: scored.likelihoods for scored in engine.score(asked)}
    theirs = {scored.key: scored.likelihoods for scored in other.score(asked)}
    assert ours.keys() == theirs.keys()
    assert ours["edge", 0, "policy"][0].nll is not None
    assert ours["edge", 0, "policy"][1].nll is None
    for key, likelihoods in theirs.items():
        for one, expected in zip(ours[key], likelihoods, strict=True):
            assert one.tokens == expected.tokens
            if expected.nll is None:
                assert one.nll is None
            else:
                assert one.nll == pytest.approx(expected.nll, abs=1e-4 * one.tokens)
    (alone,) = other.score(asked[7:8])
    assert [one.nll for one in alone.likelihoods] == pytest.approx([one.nll for one in ours[alone.key]], abs=1e-4)


def test_stop_ids_of_the_generation_config_end_an_answer(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    settings = json.loads((copy / "generation_config.json").read_bytes())
    (copy / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": list(range(10_000)), "repetition_penalty": 9.0}))
    loaded = load(copy)
    assert {(one.tokens, one.finish) for one in loaded.generate(sampled(requests(8), GREEDY))} <= {(1, "empty"), (1, "stop")}
    loaded.close()


def test_adapter_changes_what_is_written_and_is_not_scored_with(folder: Path, tmp_path: Path) -> None:
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder), LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    )
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.mul_(10)
    adapted.save_pretrained(str(tmp_path))
    merged = TransformersEngine.load(folder, dtype="float32", context_tokens=None, adapter=tmp_path, device="cpu", batch_tokens=4000, window=64)
    expected = found(merged.generate(sampled(requests(12), GREEDY)))
    loaded = load(folder, adapter=tmp_path)
    ours = found(loaded.generate(sampled(requests(12), GREEDY)))
    assert {key: one.text for key, one in ours.items()} == {key: one.text for key, one in expected.items()}
    with pytest.raises(RecipeError, match=r"^engine: vllm cannot score with an adapter; use transformers$"):
        loaded.score([])
    loaded.close()


def test_close_frees_the_model_and_leaves_the_process_as_it_was(folder: Path) -> None:
    before = torch.get_default_dtype(), os.sched_getaffinity(0), torch.set_num_threads
    loaded = load(folder)
    assert loaded.accelerator is None
    internal, _ = loaded._open()
    model = weakref.ref(internal.model_executor.driver_worker.model_runner.model)
    cache = weakref.ref(internal.model_executor.driver_worker.model_runner.kv_caches[0])
    del internal
    assert len(list(loaded.generate(sampled(requests(2), FREE)))) == 2
    assert model() is not None
    loaded.close()
    assert model() is None
    assert cache() is None
    assert (torch.get_default_dtype(), os.sched_getaffinity(0), torch.set_num_threads) == before
    with pytest.raises(EngineError, match="the engine is closed"):
        loaded.generate(sampled(requests(1), FREE))
    loaded.close()


def test_logits_that_are_not_finite_end_the_generation(folder: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.nn.init.constant_(model.lm_head.weight, math.nan)
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    model.save_pretrained(copy)
    loaded = load(copy)
    for sampling in (USUAL, GREEDY):
        with pytest.raises(EngineError, match=r"^the logits are not finite; use dtype float32 or bfloat16$"):
            list(loaded.generate(sampled(requests(2), sampling)))
    loaded.close()


@pytest.mark.parametrize(
    ("missing", "kind", "words"),
    [
        ("model.safetensors", ModelError, "no weights (model.safetensors)"),
        ("tokenizer*", ModelError, "no tokenizer.json"),
        ("chat_template.jinja", ModelError, "no chat template"),
        ("config.json", ModelError, "no config.json"),
    ],
)
def test_incomplete_model_folder_is_named_in_one_line(folder: Path, tmp_path: Path, missing: str, kind: type[SgpoError], words: str) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "model", ignore=shutil.ignore_patterns(missing)))
    with pytest.raises(kind) as caught:
        load(broken)
    assert str(caught.value).startswith(f"{broken}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_vllm_can_not_do_here_is_said_in_one_line(folder: Path) -> None:
    cases: list[tuple[Callable[[], object], type[SgpoError], str]] = [
        (lambda: load(folder, device="cuda"), EngineError, "device cuda: vllm is built for the CPU here"),
        (lambda: load(folder, device="cuda:1"), EngineError, "device cuda:1: vllm takes the first GPUs"),
        (lambda: load(folder, adapter=folder), ModelError, f"{folder}: no adapter_config.json"),
    ]
    for call, kind, words in cases:
        with pytest.raises(kind) as caught:
            call()
        assert str(caught.value).startswith(words)


def test_engine_of_the_recipe_is_the_one_that_is_opened(folder: Path) -> None:
    loading = weights_loading("vllm", "auto", 64, folder)
    assert (loading.engine, loading.dtype, loading.context_tokens) == ("vllm", "float32", 64)
    opened = open_engine(loading, folder, adapter=None, how=Execution(device="cpu", batch_tokens=512, window=4))
    assert isinstance(opened, VllmEngine)
    assert len(list(opened.generate(sampled(requests(6), GREEDY)))) == 6
    opened.close()


def test_copies_in_processes_of_their_own_give_the_same_rows(folder: Path, engine: VllmEngine) -> None:
    expected = {key: one.text for key, one in found(engine.generate(sampled(requests(40), USUAL))).items()}
    scores = [ScoreRequest((f"p{row}", 0, "policy"), question("the " * row), ("is", "the list")) for row in range(12)]
    likely = {scored.key: [each.nll for each in scored.likelihoods] for scored in engine.score(scores)}
    copies = Replicas.start(weights_loading("vllm", "float32", CONTEXT, folder), folder, adapter=None, how=Execution(window=22, data_parallel=2))
    ours = {key: one.text for key, one in found(copies.generate(sampled(requests(40), USUAL))).items()}
    for scored in copies.score(scores):
        assert [each.nll for each in scored.likelihoods] == pytest.approx(likely.pop(scored.key), rel=1e-4)
    copies.close()
    assert ours == expected
    assert not likely


TRAINED = """
model = "model"
[[phases]]
name = "spin"
rounds = 2
prompts_per_round = 8
[phases.source]
path = "prompts.jsonl"
columns = ["reference=reference"]
[phases.seed]
engine = "vllm"
sampling.max_tokens = 64
[phases.pair]
[phases.train]
batch_rows = 8
"""


def test_training_and_the_next_round_fit_into_the_same_run(tmp_path: Path) -> None:
    from sgpo_data.toy.__main__ import prompts

    base_model(tmp_path / "model")
    prompts(rows=40, output=tmp_path / "prompts.jsonl")
    (tmp_path / "x.toml").write_text(TRAINED)
    ran = run_recipe(tmp_path / "x.toml", Execution(root=tmp_path / "runs", progress="none", window=8))
    assert [each.step.stage for each in ran] == [*("source", "seed", "pair", "train")] * 2
    assert all((each.step.folder / "manifest.json").is_file() for each in ran)


def test_engine_that_is_not_installed_says_how_to_install_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgpo_data.engines.loading.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"^vllm is not installed; run: pip install 'sgpo-data\[vllm\]'$"):
        load(folder)
