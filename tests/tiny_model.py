"""A tiny model with random weights and a byte-level tokenizer, written to a folder."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GenerationConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from sgpo_data.engines import GenerateRequest, Sampling
from sgpo_data.rows import Message

SPECIAL = ["<|pad|>", "<s>", "<|im_start|>", "<|im_end|>", "</s>"]
PAD, BOS, START, END, EOS = range(5)
CONTEXT = 128
CHATML = """\
{{- bos_token }}
{%- for message in messages %}
{%- if message.role == 'refused' %}{{ raise_exception('no such role') }}{% endif %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' %}{% generation %}{{- message.content + '<|im_end|>' }}{% endgeneration %}
{%- else %}{{- message.content + '<|im_end|>' }}{% endif %}{{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}"""


def tiny_tokenizer(*, template: str = CHATML, puts_bos: bool = False) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator(["user assistant system the answer of the question is in the list"] * 4, trainer)
    if puts_bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", BOS)])
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<|pad|>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **special)  # type: ignore[no-untyped-call]


def tiny_config(vocabulary: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        # Wider than usual, so that the distributions are far from flat and depend on what was read.
        initializer_range=0.3,
    )


def write_classifier(folder: Path, *, labels: int = 1, padding: int | None = PAD) -> Path:
    """A reward model with random weights."""
    tokenizer = tiny_tokenizer()
    config = tiny_config(len(tokenizer))
    config.num_labels = labels
    config.pad_token_id = padding
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(folder)
    return folder


def write_model(
    folder: Path, *, tokenizer: PreTrainedTokenizerFast | None = None, config: PreTrainedConfig | None = None, stop_ids: Sequence[int] = (EOS, END)
) -> Path:
    tokenizer = tokenizer or tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config or tiny_config(len(tokenizer)))  # type: ignore[no-untyped-call]
    model.generation_config = GenerationConfig(bos_token_id=BOS, eos_token_id=list(stop_ids), pad_token_id=PAD)  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def question(text: str) -> list[Message]:
    return [Message(role="user", content=text)]


def sampled(requests: Iterable[GenerateRequest], sampling: Sampling) -> Iterator[GenerateRequest]:
    """The same requests, each with this sampling."""
    return (replace(request, sampling=sampling) for request in requests)
