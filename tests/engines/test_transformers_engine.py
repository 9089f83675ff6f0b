import gc
import math
import shutil
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from renderings import answer_ids
from tiny_model import BOS, CONTEXT, END, EOS, PAD, question, sampled, tiny_config, tiny_tokenizer, write_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GPT2Config, Lfm2Config, LlamaConfig, MistralConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import CausalLMOutputWithPast

from sgpo_data.engines import GenerateRequest, Generation, Sampling, ScoreRequest
from sgpo_data.engines.chat import load_chat
from sgpo_data.engines.local.sampling import sampled_tokens
from sgpo_data.engines.local.transformers import TransformersEngine
from sgpo_data.engines.threads import fit_threads
from sgpo_data.errors import EngineError, ModelError, RecipeError, SgpoError
from sgpo_data.rows import Message

FREE = Sampling(temperature=1.0, top_p=1.0, max_tokens=24)
USUAL = Sampling(temperature=0.7, top_p=0.9, max_tokens=24)
GREEDY = Sampling(temperature=0, max_tokens=24)
ROUNDED = 1
"""Rows whose answer may change with the width of a matrix product: a rounding error of 1e-6 moves one token in some ten thousand."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def engine(folder: Path, *, batch_tokens: int = 4000, window: int = 64, context_tokens: int | None = None, adapter: Path | None = None) -> TransformersEngine:
    return TransformersEngine.load(
        folder, dtype="float32", context_tokens=context_tokens, adapter=adapter, device="cpu", batch_tokens=batch_tokens, window=window
    )


def in_memory(folder: Path) -> tuple[PreTrainedModel, TransformersEngine]:
    model = AutoModelForCausalLM.from_pretrained(folder)
    return model, TransformersEngine(model, load_chat(folder), context_tokens=CONTEXT, batch_tokens=4000, window=64)


def requests(rows: int, *, seed: int = 0) -> list[GenerateRequest]:
    return [GenerateRequest((f"p{row}", 0), question("is the list " + "in " * (row * 5 % 17)), seed=seed + row * 7919, sampling=FREE) for row in range(rows)]


def texts(generations: Iterator[Generation]) -> dict[str, str | None]:
    return {generation.key[0]: generation.text for generation in generations}


@pytest.mark.parametrize("sampling", [FREE, USUAL, Sampling(temperature=1.0, top_k=20, top_p=0.95, max_tokens=24), GREEDY])
def test_answer_does_not_depend_on_the_batch_it_is_in_but_for_rounding(folder: Path, sampling: Sampling) -> None:
    alone = {generation.key: generation for generation in engine(folder, batch_tokens=1).generate(sampled(requests(64), sampling))}
    sixteen = {generation.key: generation for generation in engine(folder, batch_tokens=16 * 60, window=24).generate(sampled(requests(64), sampling))}
    assert len(alone) == len(sixteen) == 64
    same = [key for key, generation in alone.items() if generation.text == sixteen[key].text]
    assert len(same) >= 64 - ROUNDED
    for key in same:
        one, other = alone[key], sixteen[key]
        assert (one.finish, one.tokens) == (other.finish, other.tokens)
        assert one.nll == pytest.approx(other.nll, rel=1e-4)


SPECIAL = {"vocab_size": 300, "bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD, "initializer_range": 0.3}
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig.from_dict({"max_position_embeddings": CONTEXT, **SIZES, **SPECIAL}),
        MistralConfig.from_dict({"max_position_embeddings": CONTEXT, "sliding_window": 20, **SIZES, **SPECIAL}),
        GPT2Config.from_dict({"n_positions": CONTEXT, "n_embd": 64, "n_layer": 2, "n_head": 4, **SPECIAL}),
        Lfm2Config.from_dict({"max_position_embeddings": CONTEXT, "full_attn_idxs": [1], **SIZES, **SPECIAL}),
    ],
    ids=["full attention", "sliding window", "learned positions", "convolutions, which rows only leave"],
)
def test_rows_that_join_a_batch_get_the_answers_they_get_alone(tmp_path: Path, config: PreTrainedConfig) -> None:
    # One id in fifteen ends an answer, so that rows leave, and others join, at many different lengths.
    folder = write_model(tmp_path, config=config, stop_ids=[END, *range(10, 300, 15)])
    sampling = Sampling(temperature=1.0, top_p=1.0, max_tokens=60)
    alone = texts(engine(folder, batch_tokens=1).generate(sampled(requests(48), sampling)))
    joined = texts(engine(folder, batch_tokens=6 * 100, window=9).generate(sampled(requests(48), sampling)))
    assert len(joined) == 48
    assert sum(joined[key] != text for key, text in alone.items()) <= ROUNDED


def test_same_seed_gives_the_same_text_and_another_seed_another(folder: Path) -> None:
    first = texts(engine(folder).generate(sampled(requests(16), FREE)))
    assert texts(engine(folder).generate(sampled(reversed(requests(16)), FREE))) == first
    other = texts(engine(folder).generate(sampled(requests(16, seed=1), FREE)))
    assert all(other[key] != text for key, text in first.items())


def test_temperature_zero_gives_what_transformers_generates_greedily(folder: Path) -> None:
    found = texts(engine(folder).generate(sampled(requests(16), GREEDY)))
    model, chat = AutoModelForCausalLM.from_pretrained(folder), load_chat(folder)
    for request in requests(16):
        ids = torch.tensor([chat.prompt_ids(request.messages)])
        written = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24)  # type: ignore[misc]
        assert found[request.key[0]] == chat.tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)


def drawn_by_hand(logits: list[float], uniform: float, sampling: Sampling) -> int:
    """Sorting and adding up in plain Python: top-k, renormalise, top-p, then the inverse of the cumulative distribution."""
    weights = [math.exp(logit / sampling.temperature) for logit in logits]
    order = sorted(range(len(logits)), key=lambda token: -weights[token])
    order = order[: sampling.top_k] if sampling.top_k else order
    total = sum(weights[token] for token in order)
    kept: list[int] = []
    for token in order:
        if sum(weights[other] for other in kept) / total >= sampling.top_p:
            break
        kept.append(token)
    kept.sort()
    passed = list(accumulate(weights[token] for token in kept))
    return next(token for token, bound in zip(kept, passed, strict=True) if bound > uniform * passed[-1])


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [0, 1, 3, 50])
@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 1.0])
def test_token_is_the_inverse_of_the_cumulative_distribution(temperature: float, top_k: int, top_p: float) -> None:
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    logits = [1.0, -2.0, 0.5, 3.0, 2.5, -1.0, 0.0]
    uniforms = [step / 97 for step in range(97)] + [1 - 2**-53]
    found = sampled_tokens(torch.tensor([logits] * len(uniforms)), torch.tensor(uniforms, dtype=torch.float64), sampling)
    assert found.tolist() == [drawn_by_hand(logits, uniform, sampling) for uniform in uniforms]


def test_token_that_crosses_top_p_is_kept_and_so_are_its_equals() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    uniforms = torch.linspace(0, 0.999, 200, dtype=torch.float64)

    def kept(top_p: float) -> set[int]:
        return set(sampled_tokens(logits.expand(200, -1), uniforms, Sampling(temperature=1, top_p=top_p)).tolist())

    assert [kept(top_p) for top_p in (0.4, 0.6, 0.8)] == [{0}, {0, 1}, {0, 1, 2, 3}]


def test_sampled_tokens_follow_the_distribution_of_the_model(folder: Path) -> None:
    chat, model = load_chat(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = chat.prompt_ids(question("q")) or []
    with torch.no_grad():
        expected = (model(torch.tensor([ids])).logits[0, -1].double() / 0.7).softmax(-1)
    rows, sampling = 4000, Sampling(temperature=0.7, top_p=1.0, max_tokens=1)
    many = [GenerateRequest(("q", sample), question("q"), seed=sample, sampling=FREE) for sample in range(rows)]
    counts = torch.zeros_like(expected)
    nll = -model(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1).detach()
    for generation in engine(folder, batch_tokens=10**5, window=4000).generate(sampled(many, sampling)):
        counts[(nll - (generation.nll or 0)).abs().argmin()] += 1
    likely = expected * rows >= 20
    chi_square = ((counts - expected * rows) ** 2 / (expected * rows))[likely].sum().item()
    # Mean and standard deviation of chi-square with as many degrees of freedom; the seeds are fixed.
    assert chi_square < likely.sum().item() + 4 * math.sqrt(2 * likely.sum().item())


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Words between spaces: text and ids determine each other."""
    words = ["<|pad|>", "<s>", "<|im_start|>", "<|im_end|>", "</s>", "user", "assistant", *(f"w{index}" for index in range(25))]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
    template = tiny_tokenizer().chat_template
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **special)  # type: ignore[no-untyped-call]
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "</s>"]})
    return fast


def test_nll_of_a_generation_is_the_likelihood_of_its_text(tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    scorer = engine(write_model(tmp_path, tokenizer=tokenizer, config=tiny_config(len(tokenizer)), stop_ids=[END]))
    asked = [GenerateRequest((f"p{row}", 0), question("w1 w2 w3"), seed=row, sampling=FREE) for row in range(256)]
    found = list(scorer.generate(sampled(asked, FREE)))
    likelihoods = {
        scored.key[:2]: scored.likelihoods[0]
        for scored in scorer.score(ScoreRequest((*item.key, "policy"), question("w1 w2 w3"), (item.text or "",)) for item in found)
    }
    # A special token in the middle of an answer is not in its text.
    same_ids = [item for item in found if item.finish == "stop" and likelihoods[item.key].tokens == item.tokens]
    assert len(same_ids) >= 5
    for item in same_ids:
        assert likelihoods[item.key].nll == pytest.approx(item.nll, rel=1e-5)


def test_prompt_too_long_for_the_context_is_a_result(folder: Path) -> None:
    chat = load_chat(folder)
    message = question("is the list of the answer")
    length = len(chat.prompt_ids(message) or [])
    request = GenerateRequest(("p", 0), message, seed=1, sampling=FREE)
    free = next(iter(engine(folder).generate(sampled([request], FREE))))
    assert (free.finish, free.tokens) == ("length", 24)
    for context_tokens, finish, tokens in [
        (length - 1, "too_long", None),
        (length, "too_long", None),
        (length + 1, "length", 1),
        (length + 23, "length", 23),
        (length + 24, "length", 24),
    ]:
        (found,) = engine(folder, context_tokens=context_tokens).generate(sampled([request], FREE))
        assert (found.finish, found.tokens, found.text is None, found.nll is None) == (finish, tokens, tokens is None, tokens is None)
        assert (free.text or "").startswith((found.text or "").rstrip("�"))


def test_refused_prompt_is_a_result(folder: Path) -> None:
    asked = [
        GenerateRequest(("refused", 0), [Message(role="refused", content="x")], seed=1, sampling=FREE),
        GenerateRequest(("empty", 0), [], seed=1, sampling=FREE),
        *requests(2),
    ]
    found = {generation.key[0]: generation for generation in engine(folder).generate(sampled(asked, FREE))}
    assert found["refused"] == Generation(("refused", 0), text=None, finish="refused", nll=None, tokens=None)
    assert found["empty"].finish == "refused"
    assert len(found) == 4


def test_answer_that_ends_at_once_is_empty_and_one_that_ends_at_the_limit_stops(folder: Path) -> None:
    model, loaded = in_memory(folder)
    ending = 1

    def end(_: object, __: object, kwargs: dict[str, torch.Tensor], output: CausalLMOutputWithPast) -> CausalLMOutputWithPast:
        assert output.logits is not None
        mask = kwargs["attention_mask"]
        if mask.shape[1] == prompt + ending - 1:
            output.logits[..., END] = 100.0
        return output

    model.register_forward_hook(end, with_kwargs=True)
    request = requests(1)[0]
    prompt = len(load_chat(folder).prompt_ids(request.messages) or [])
    (found,) = loaded.generate(sampled([request], FREE))
    assert (found.text, found.finish, found.tokens) == ("", "empty", 1)
    ending = 24
    (found,) = loaded.generate(sampled([request], FREE))
    assert (found.finish, found.tokens) == ("stop", 24)


def test_rows_of_one_stream_are_drawn_each_as_its_request_says(folder: Path) -> None:
    ways = (FREE, USUAL, GREEDY, Sampling(temperature=1.0, top_k=5, top_p=1.0, max_tokens=60))
    mixed = [replace(request, sampling=ways[row % len(ways)]) for row, request in enumerate(requests(48))]
    found = texts(engine(folder, batch_tokens=6 * 100, window=20).generate(mixed))
    for way, sampling in enumerate(ways):
        alone = texts(engine(folder).generate(sampled(requests(48), sampling)))
        assert sum(found[f"p{row}"] != alone[f"p{row}"] for row in range(way, 48, len(ways))) <= ROUNDED


def test_draws_no_more_than_the_window(folder: Path) -> None:
    drawn, most = 0, 0

    def counted() -> Iterator[GenerateRequest]:
        nonlocal drawn
        for row, request in enumerate(requests(40)):
            drawn += 1
            yield request if row % 7 else GenerateRequest(request.key, question("is " * 200), seed=1, sampling=FREE)

    for yielded, _ in enumerate(engine(folder, batch_tokens=8 * 60, window=11).generate(sampled(counted(), Sampling(max_tokens=12, temperature=2, top_p=1)))):
        most = max(most, drawn - yielded)
        assert drawn - yielded <= 11
    assert (drawn, most) == (40, 11)


def test_finished_rows_are_given_back_before_the_longest_is_done(folder: Path) -> None:
    model, loaded = in_memory(folder)
    forwards = 0

    def count(*_: object) -> None:
        nonlocal forwards
        forwards += 1

    model.register_forward_pre_hook(count)
    seen = [(generation.tokens, forwards) for generation in loaded.generate(sampled(requests(24), Sampling(temperature=2, top_p=1, max_tokens=60)))]
    assert all(tokens == steps for tokens, steps in seen)
    assert (seen[0][0] or 60) < 30
    assert seen[-1][0] == 60


def test_generation_goes_on_with_a_smaller_batch_when_memory_runs_out(folder: Path) -> None:
    model, loaded = in_memory(folder)
    expected = texts(loaded.generate(sampled(requests(20), USUAL)))
    cells = 8 * 50

    def allocate(_: object, __: object, kwargs: dict[str, torch.Tensor]) -> None:
        if kwargs["attention_mask"].numel() > cells:
            raise torch.OutOfMemoryError("full")

    model.register_forward_pre_hook(allocate, with_kwargs=True)
    found = texts(loaded.generate(sampled(requests(20), USUAL)))
    assert len(found) == 20
    assert sum(found[key] != text for key, text in expected.items()) <= ROUNDED
    cells = 10
    with pytest.raises(EngineError, match=r"^out of memory for one row of \d+ tokens; lower max_tokens or the context length$"):
        list(loaded.generate(sampled(requests(20), USUAL)))


def test_logits_that_are_not_finite_end_the_generation(folder: Path) -> None:
    model, loaded = in_memory(folder)
    torch.nn.init.constant_(model.lm_head.weight, math.nan)
    for sampling in (USUAL, GREEDY):
        with pytest.raises(
            EngineError, match=r"the logits are not finite in torch.float32; the weights, or those of the adapter, hold NaN or infinity; give others$"
        ):
            list(loaded.generate(sampled(requests(2), sampling)))


def test_adapter_is_merged_into_the_weights(folder: Path, tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(0)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM"))
    adapted.save_pretrained(str(tmp_path))
    chat = load_chat(folder)
    ids, answer = chat.prompt_ids(question("q")) or [], answer_ids(chat, "the list")
    with torch.no_grad():
        logits = adapted(torch.tensor([ids + answer])).logits[0].double().log_softmax(-1)
    expected = -sum(logits[len(ids) + index - 1, token].item() for index, token in enumerate(answer))
    (merged,), (plain,) = (
        engine(folder, adapter=adapter).score([ScoreRequest(("p", 0, "policy"), question("q"), ("the list",))]) for adapter in (tmp_path, None)
    )
    assert merged.likelihoods[0].nll == pytest.approx(expected, rel=1e-5)
    assert plain.likelihoods[0].nll != pytest.approx(expected, rel=1e-2)


def test_close_frees_the_model(folder: Path) -> None:
    model, loaded = in_memory(folder)
    held = weakref.ref(model)
    del model
    assert len(list(loaded.generate(sampled(requests(2), FREE)))) == 2
    assert held() is not None
    loaded.close()
    gc.collect()
    assert held() is None
    with pytest.raises(EngineError, match="the engine is closed"):
        loaded.generate(sampled(requests(1), FREE))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "no config.json, so this is no model folder; give a folder that save_pretrained wrote"),
        ("model.safetensors", "no weights (model.safetensors); give a folder that save_pretrained wrote"),
        ("tokenizer*", "no tokenizer.json, so this is no model folder; give a folder that save_pretrained wrote"),
        ("chat_template.jinja", "the tokenizer has no chat template; add chat_template.jinja to the folder"),
    ],
)
def test_incomplete_model_folder_is_named_with_what_it_lacks(folder: Path, tmp_path: Path, missing: str, message: str) -> None:
    broken = tmp_path / "model"
    shutil.copytree(folder, broken, ignore=shutil.ignore_patterns(missing))
    with pytest.raises(ModelError) as caught:
        engine(broken)
    assert str(caught.value) == f"{broken}: {message}"


def test_broken_weights_foreign_adapter_and_too_long_a_context_are_named_in_one_line(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    shutil.copytree(folder, broken)
    (broken / "model.safetensors").write_bytes(b"no weights")
    cases: list[tuple[Callable[[], object], type[SgpoError], str]] = [
        (lambda: engine(broken), ModelError, f"{broken}: the model cannot be read: "),
        (lambda: engine(folder, adapter=folder), ModelError, f"{folder}: no adapter_config.json, so this is no adapter folder"),
        (lambda: engine(folder, context_tokens=CONTEXT + 1), RecipeError, f"context_tokens: {CONTEXT + 1} is more than the {CONTEXT} positions of {folder}"),
    ]
    for call, kind, words in cases:
        with pytest.raises(kind) as caught:
            call()
        assert str(caught.value).startswith(words)
        assert "\n" not in str(caught.value)


def test_stop_ids_of_the_generation_config_end_an_answer(folder: Path) -> None:
    model, loaded = in_memory(folder)
    assert model.generation_config is not None
    assert {generation.tokens for generation in loaded.generate(sampled(requests(8), GREEDY))} != {1}
    model.generation_config.eos_token_id = list(range(300))
    assert {(generation.tokens, generation.finish) for generation in loaded.generate(sampled(requests(8), GREEDY))} <= {(1, "empty"), (1, "stop")}


@pytest.mark.parametrize(
    ("width", "beside", "given", "threads"), [(8, False, None, 1), (2048, False, None, 3), (8, False, "2", 2), (8, True, None, 2), (2048, True, None, 3)]
)
def test_a_small_model_has_one_thread_unless_their_number_is_given(
    width: int, beside: bool, given: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sgpo_data.engines.threads._default", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        fit_threads(torch.nn.Linear(width, 4096), beside=beside)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
