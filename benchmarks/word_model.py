"""A Llama with random weights whose every word is one token, so that lengths are exact; written as a model folder."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<|pad|>", "<|turn|>", "<|end|>"]
TEMPLATE = "{% for message in messages %}<|turn|> {{ message.content }} <|end|> {% endfor %}{% if add_generation_prompt %}<|turn|>{% endif %}"


def word_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Words w3, w4 and so on, each with its number as its id."""
    ids = {name: number for number, name in enumerate([*SPECIAL, *(f"w{number}" for number in range(len(SPECIAL), vocabulary))])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found = PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=TEMPLATE, pad_token=SPECIAL[0], eos_token=SPECIAL[2])  # type: ignore[no-untyped-call]
    found.add_special_tokens({"additional_special_tokens": SPECIAL[1:2]})
    return found


def word_config(*, hidden: int, layers: int, vocabulary: int, context: int) -> LlamaConfig:
    """Heads of 64 dimensions, four of which share their keys, and a feed-forward part of 2.75 times the width."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 256,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )


def write_model(folder: Path, config: LlamaConfig) -> Path:
    """The model, always the same one."""
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    word_tokenizer(config.vocab_size).save_pretrained(folder)
    return folder
