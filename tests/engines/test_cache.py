"""Claims about the two shortcuts of writing token by token: keys that heads share are not copied, and neither are columns that stay."""

from typing import Any, cast

import pytest
import torch
from tiny_model import tiny_config
from transformers import AutoModelForCausalLM, DynamicCache, LlamaConfig, PreTrainedConfig, PreTrainedModel, Qwen3Config

from sgpo_data.engines.local.cache import RoomyLayer, join, narrow, plain_states, roomy
from sgpo_data.engines.local.grouped_attention import NAME

SIZE: dict[str, Any] = {"vocab_size": 90, "hidden_size": 48, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 6, "head_dim": 8}
CONFIGS = [
    tiny_config(90),
    LlamaConfig(**SIZE, num_key_value_heads=2),
    LlamaConfig(**SIZE, num_key_value_heads=1),
    Qwen3Config(**SIZE, num_key_value_heads=3),
]


def model(config: PreTrainedConfig, attention: str) -> PreTrainedModel:
    torch.manual_seed(3)
    made: PreTrainedModel = AutoModelForCausalLM.from_config(config, attn_implementation=attention)  # type: ignore[no-untyped-call]
    made.eval()  # type: ignore[no-untyped-call]
    return made


@torch.inference_mode()
def logits(model: PreTrainedModel, cache: DynamicCache, steps: int) -> torch.Tensor:
    """(steps, rows, vocabulary): of two rows, one padded on the left, each fed the same tokens."""
    ids = torch.arange(2 * 9).view(2, 9) * 7 % 90
    mask = torch.tensor([[0] * 4 + [1] * 5, [1] * 9])
    found = []
    for step in range(steps):
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
        found.append(output.logits[:, -1])
        ids, mask = torch.full((2, 1), 11 * step % 90), torch.cat([mask, torch.ones(2, 1, dtype=torch.long)], dim=1)
    return torch.stack(found)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.model_type}-{config.num_key_value_heads}")
def test_logits_are_those_of_sdpa_and_of_a_cache_that_copies(config: PreTrainedConfig) -> None:
    usual = logits(model(config, "sdpa"), DynamicCache(config=config), steps=90)
    ours = logits(model(config, NAME), roomy(config), steps=90)
    torch.testing.assert_close(ours, usual, rtol=1e-4, atol=1e-5)
    assert usual.std() > 0.1


@torch.inference_mode()
def test_a_layer_holds_what_was_put_into_it_whatever_joined_and_left() -> None:
    config = CONFIGS[1]
    ours, usual = roomy(config), DynamicCache(config=config)
    assert all(type(layer) is RoomyLayer for layer in ours.layers)
    dice = torch.Generator().manual_seed(5)

    def states(rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = torch.rand(2, rows, 2, columns, 8, generator=dice)
        return keys, values

    def both_hold(rows: int, columns: int) -> None:
        for (keys, values), others in zip(map(plain_states, ours.layers), map(plain_states, usual.layers), strict=True):
            assert keys.shape[::2] == (rows, columns)
            assert torch.equal(keys, others[0])
            assert torch.equal(values, others[1])

    def fed(rows: int, columns: int) -> None:
        for layer in range(2):
            given = states(rows, columns)
            for cache in (ours, usual):
                cache.update(*given, layer)

    fed(3, 6)
    for _ in range(150):
        fed(3, 1)
    both_hold(3, 156)
    for cache in (ours, usual):
        cache.reorder_cache(cast("torch.LongTensor", torch.tensor([0, 2])))
        narrow(cache, 40)
    fed(2, 1)
    both_hold(2, 41)
    others = roomy(config), DynamicCache(config=config)
    for layer in range(2):
        given = states(1, 44)
        for cache in others:
            cache.update(*given, layer)
    for cache, other in zip((ours, usual), others, strict=True):
        join(cache, other, width=44)
    fed(3, 1)
    fed(3, 1)
    both_hold(3, 46)
