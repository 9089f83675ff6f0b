"""Answers packed behind a prompt that is computed once get what a plain forward of each gives."""

import logging
import math
from pathlib import Path

import pytest
import torch
import transformers
from renderings import answer_ids
from tiny_model import BOS, CONTEXT, EOS, PAD, question, tiny_tokenizer, write_model
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from sgpo_data.engines import GenerateRequest, Sampling, ScoreRequest
from sgpo_data.engines.chat import Chat
from sgpo_data.engines.local import head
from sgpo_data.engines.local.packable import way
from sgpo_data.engines.local.packed import Packed
from sgpo_data.engines.local.transformers import TransformersEngine
from sgpo_data.engines.local.trees import Tree, packed, padded

SMALL = {
    # One more: transformers gives tokenizers of Qwen2 a token of its own.
    "vocab_size": len(tiny_tokenizer()) + 1,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "initializer_range": 0.3,
}
BOTH = ["sliding_attention", "full_attention"]
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "original_max_position_embeddings": 32,
    "factor": 4.0,
    "short_factor": [1.0] * 8,
    "long_factor": [4.0] * 8,
}
PACKED: list[tuple[str, dict[str, object]]] = [
    ("LlamaConfig", {}),
    ("MistralConfig", {"sliding_window": 8}),
    ("Qwen2Config", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
    ("Qwen3Config", {"head_dim": 16}),
    ("Qwen3MoeConfig", {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}),
    ("Gemma3TextConfig", {"head_dim": 16, "sliding_window": 8, "layer_types": BOTH, "final_logit_softcapping": 2.0}),
    ("CohereConfig", {"logit_scale": 0.3}),
    ("GraniteConfig", {"logits_scaling": 3.0, "residual_multiplier": 0.5}),
    ("GPT2Config", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT}),
    ("GPTNeoXConfig", {}),
    ("Phi3Config", {"original_max_position_embeddings": 32, "rope_parameters": LONGROPE}),
]
PADDED: list[tuple[str, dict[str, object], str]] = [
    ("Gemma2Config", {"head_dim": 16, "sliding_window": 8, "attn_logit_softcapping": 1.0}, "its attention has softcap"),
    ("GptOssConfig", {"head_dim": 16, "sliding_window": 8, "layer_types": BOTH, "num_local_experts": 2, "num_experts_per_tok": 1}, "its attention has s_aux"),
    ("Lfm2Config", {"layer_types": ["conv", "full_attention"], "block_multiple_of": 8}, "not all of its layers are attention"),
    ("BloomConfig", {"n_layer": 2, "n_head": 4}, "not all of its layers use an attention that can be chosen"),
]
REQUESTS = [
    ScoreRequest(("several", 0, "policy"), question("what is in the list"), ("the list", "the list of the answer is in the list", "Grüße, 世界 🙂")),
    ScoreRequest(("same", 0, "policy"), question("what is in the list"), ("the list", "the list")),
    ScoreRequest(("empty", 0, "policy"), question("the answer"), ("", "is", "")),
    ScoreRequest(("all empty", 0, "policy"), question("x" * 30), ("", "")),
    ScoreRequest(("long prompt", 0, "policy"), question("x" * 60), ("is in", "y", "of the user")),
    ScoreRequest(("too long", 0, "policy"), question("q"), ("in", "x" * CONTEXT, "the user" * 5)),
    ScoreRequest(("one", 0, "improver"), question("y"), ("the question of the user " * 4,)),
]


def config(name: str, settings: dict[str, object]) -> PreTrainedConfig:
    found: PreTrainedConfig = getattr(transformers, name)(**{**SMALL, **settings})
    return found


def load(folder: Path, *, dtype: str = "float32", batch_tokens: int = 4000, window: int = 64) -> TransformersEngine:
    return TransformersEngine.load(folder, dtype=dtype, context_tokens=CONTEXT, adapter=None, device="cpu", batch_tokens=batch_tokens, window=window)


def plain(model: PreTrainedModel, request: ScoreRequest) -> list[tuple[float | None, int]]:
    """Full logits in float64, one answer at a time."""
    chat = Chat(tiny_tokenizer(), place="x")
    prompt = chat.prompt_ids(request.messages) or []
    found: list[tuple[float | None, int]] = []
    for answer in (answer_ids(chat, each) for each in request.answers):
        if len(prompt) + len(answer) > CONTEXT:
            found.append((None, len(answer)))
            continue
        with torch.no_grad():
            # Some models turn positions by the length of what they are given: the last token, only ever predicted, is left out.
            log_probabilities = model(torch.tensor([(prompt + answer)[:-1]])).logits[0].log_softmax(-1)
        read = [log_probabilities[len(prompt) + place - 1, token].item() for place, token in enumerate(answer)]
        found.append((-math.fsum(read), len(answer)))
    return found


def check(folder: Path, engine: TransformersEngine) -> None:
    exact = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager")
    found = {scored.key: scored.likelihoods for scored in engine.score(REQUESTS)}
    assert len(found) == len(REQUESTS)
    for request in REQUESTS:
        for one, (nll, tokens) in zip(found[request.key], plain(exact, request), strict=True):
            assert one.tokens == tokens
            assert one.nll == (None if nll is None else pytest.approx(nll, abs=1e-5 * tokens))


@pytest.mark.parametrize(("name", "settings"), PACKED, ids=[name for name, _ in PACKED])
def test_packed_likelihoods_are_those_of_a_plain_float64_forward(name: str, settings: dict[str, object], tmp_path: Path) -> None:
    folder = write_model(tmp_path, config=config(name, settings))
    assert isinstance(way(AutoModelForCausalLM.from_pretrained(folder)), Packed)
    check(folder, load(folder))


@pytest.mark.parametrize(("name", "settings", "reason"), PADDED, ids=[name for name, _, _ in PADDED])
def test_model_that_can_not_be_packed_is_scored_answer_by_answer_and_the_log_says_why(
    name: str, settings: dict[str, object], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_model(tmp_path, config=config(name, settings))
    with caplog.at_level(logging.INFO, logger="sgpo_data"):
        check(folder, load(folder))
    assert reason in caplog.text


def test_model_whose_positions_are_not_what_it_is_told_is_not_packed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = AutoModelForCausalLM.from_pretrained(write_model(tmp_path))
    assert isinstance(way(model), Packed)
    model.model.rotary_emb.register_forward_pre_hook(
        lambda _, args, kwargs: (args, {"position_ids": torch.arange(args[0].shape[1])[None].expand_as(kwargs["position_ids"])}), with_kwargs=True
    )
    with caplog.at_level(logging.INFO, logger="sgpo_data"):
        assert not isinstance(way(model), Packed)
    assert "nats per token apart" in caplog.text


def test_every_prompt_is_computed_once_and_nothing_is_padded(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(write_model(tmp_path))
    chat = Chat(tiny_tokenizer(), place="x")
    engine = TransformersEngine(model, chat, context_tokens=CONTEXT, batch_tokens=4000, window=64)
    stream = engine.score(REQUESTS)
    computed = []
    model.model.embed_tokens.register_forward_pre_hook(lambda _, args: computed.append(args[0].numel()))
    list(stream)
    fitting = [
        (chat.prompt_ids(request.messages) or [], [ids for ids in (answer_ids(chat, each) for each in request.answers) if len(ids) <= CONTEXT // 2])
        for request in REQUESTS
    ]
    assert sum(computed) == sum(len(prompt) + sum(len(ids) - 1 for ids in answers) for prompt, answers in fitting)


def test_logits_are_never_of_more_tokens_than_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path)
    expected = {scored.key: scored.likelihoods for scored in load(folder).score(REQUESTS)}
    for name, value in (("LOGITS", 0), ("FEWEST", 7), ("CACHED", 900)):
        monkeypatch.setattr(head, name, value)
    model = AutoModelForCausalLM.from_pretrained(folder)
    engine = TransformersEngine(model, Chat(tiny_tokenizer(), place="x"), context_tokens=CONTEXT, batch_tokens=4000, window=64)
    stream = engine.score(REQUESTS)
    tokens = []
    model.lm_head.register_forward_hook(lambda *args: tokens.append(args[2].shape[1]))
    for scored in stream:
        for one, other in zip(scored.likelihoods, expected[scored.key], strict=True):
            assert one.nll == (None if other.nll is None else pytest.approx(other.nll, rel=1e-5))
    assert max(tokens) == 7


def test_bfloat16_weights_are_summed_up_in_float32(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    exact = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).double()
    chat = Chat(tiny_tokenizer(), place="x")
    long = ScoreRequest(("p", 0, "policy"), question("q"), ("the question of the user is in the list of the answer " * 6,))
    assert 60 < len(answer_ids(chat, long.answers[0])) < 110
    (scored,) = load(folder, dtype="bfloat16").score([long])
    ((nll, tokens),) = plain(exact, long)
    # A sum in bfloat16 would be off by one part in 256 and more.
    assert scored.likelihoods[0].nll == pytest.approx(nll, abs=0.02 * tokens)


def test_generation_after_scoring_is_what_it_was_before(tmp_path: Path) -> None:
    engine = load(write_model(tmp_path))
    greedy = Sampling(temperature=0, max_tokens=12)
    asked = [GenerateRequest((f"p{row}", 0), question("is " * row), seed=row, sampling=greedy) for row in range(5)]
    before = {one.key: one.text for one in engine.generate(asked)}
    scores = {scored.key: scored.likelihoods for scored in engine.score(REQUESTS)}
    assert {one.key: one.text for one in engine.generate(asked)} == before
    assert {scored.key: scored.likelihoods for scored in engine.score(REQUESTS)} == scores


A, B, C = [1] * 4, [2] * 6, [3]


@pytest.mark.parametrize(
    ("budget", "batches"),
    [
        (100, [[(0, [0, 1, 2]), (1, [0])]]),
        # 10 + 3 + 5 + 0 tokens, and 10 + 3.
        (30, [[(0, [0, 1, 2])], [(1, [0])]]),
        (15, [[(0, [0])], [(0, [1, 2])], [(1, [0])]]),
        (1, [[(0, [0])], [(0, [1])], [(0, [2])], [(1, [0])]]),
    ],
)
def test_batches_hold_whole_rows_within_the_budget_and_cut_only_what_does_not_fit(budget: int, batches: list[list[tuple[int, list[int]]]]) -> None:
    trees = [Tree(0, False, [0] * 10, ((0, A), (1, B), (2, C))), Tree(1, False, [0] * 10, ((0, A),))]
    assert [[(tree.request, [place for place, _ in tree.answers]) for tree in batch] for batch in packed(trees, budget)] == batches


def test_batch_that_is_full_takes_no_further_row_and_cuts_none() -> None:
    trees = [Tree(row, False, [0] * 10, ((0, A), (1, B))) for row in range(5)]
    assert [[tree.request for tree in batch] for batch in packed(trees, 1000, enough=40)] == [[0, 1], [2, 3], [4]]
    assert packed(trees, 1000, enough=5) == [[tree] for tree in trees]


def test_rows_that_the_model_turns_otherwise_are_not_beside_others() -> None:
    trees = [Tree(row, row % 2 == 0, [0] * 4, ((0, A), (1, B))) for row in range(6)]
    for batches in (packed(trees, 1000), padded(trees, 1000)):
        assert sorted(batch[0].far for batch in batches) == [False, True]
        assert all(len({tree.far for tree in batch}) == 1 for batch in batches)
