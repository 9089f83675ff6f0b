"""A Llama of 40 million random weights with a tokenizer and a chat template, written as a model folder: compute, and no download."""

import math
from pathlib import Path

import torch
from corpus import texts
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sgpo_data.toy.tokenizer import CHAT_TEMPLATE

CONTEXT = 1024
PAD, START, END = range(3)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def small_tokenizer(vocabulary: int = 8192) -> PreTrainedTokenizerFast:
    """Byte-level BPE of the made-up prompts, under a ChatML template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    turns = "\n".join(["system", "user", "assistant"])
    tokenizer.train_from_iterator((f"{prompt}\n{turns}\n{reference}" for prompt, reference in texts(2000, seed=1)), trainer)
    special = {"pad_token": SPECIAL[PAD], "eos_token": SPECIAL[END]}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=CHAT_TEMPLATE, model_max_length=CONTEXT, **special)  # type: ignore[no-untyped-call]


def write_model(folder: Path, *, end_chance: float) -> Path:
    """The model, always the same one; at temperature 1 each of its tokens is the end of turn by this chance, whatever was read."""
    tokenizer = small_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=11,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    model = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    _end_by_chance(model, end_chance)
    model.generation_config = GenerationConfig(eos_token_id=END, pad_token_id=PAD)  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@torch.no_grad()
def _end_by_chance(model: LlamaForCausalLM, chance: float) -> None:
    """One number of the residual stream is the same everywhere; the end of turn reads it alone, and no other token reads it."""
    model.model.embed_tokens.weight[:, 0] = 1.0
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight[0] = 0.0
        layer.mlp.down_proj.weight[0] = 0.0
    model.lm_head.weight[:, 0] = 0.0
    model.lm_head.weight[END] = 0.0
    hidden = model.model(torch.randint(3, model.config.vocab_size, (8, 64))).last_hidden_state
    others = model.lm_head(hidden).logsumexp(-1).mean()
    model.lm_head.weight[END, 0] = (others + math.log(chance / (1 - chance))) / hidden[..., 0].mean()
