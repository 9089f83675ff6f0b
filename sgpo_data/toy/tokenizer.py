"""The toy model's tokenizer: byte-level BPE under a ChatML template."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING

from sgpo_data.stages.improve.templates import load_template
from sgpo_data.toy.corpus import pretraining

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

CONTEXT = 512
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = """\
{%- for message in messages %}
{%- if message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}{% generation %}{{- message.content + '<|im_end|>' }}{% endgeneration %}{{- '\\n' }}
{%- else %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}"""


def shipped_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the base model."""
    from tokenizers import Tokenizer

    return _with_template(Tokenizer.from_str(files("sgpo_data.toy").joinpath("base", "tokenizer.json").read_text(encoding="utf-8")))


def new_tokenizer(texts: int = 4000) -> PreTrainedTokenizerFast:
    """A tokenizer trained on the corpus and both templates; any Unicode text has tokens, none is unknown."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(texts), trainer)
    tokenizer.add_tokens(_sentences())
    return _with_template(tokenizer)


def _with_template(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def _corpus(texts: int) -> Iterator[str]:
    improve = load_template("improve")
    for example in islice(pretraining("tokenizer"), texts):
        rewrite = improve.render(example.prompt, response=example.completion)
        yield "\n".join(message["content"] for message in [*example.prompt, *rewrite])
        yield example.completion
        yield "system\nuser\nassistant\n"


def _sentences() -> list[str]:
    """The sentences and headings of the two templates, one token each: as words they would be a third of every rewrite, and of its cost."""
    lines = [line for name in ("refine", "improve") for line in load_template(name).text.splitlines() if line and not line.startswith("{")]
    return list(dict.fromkeys(sentence for line in lines for sentence in re.split(r"(?<=\.)(?= )", line)))
