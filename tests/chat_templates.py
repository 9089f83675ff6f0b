"""Chat templates in the style of well-known families, and the tokenizers that the tests put under them."""

import json

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

LLAMA2 = """{%- if messages[0].role == 'system' %}{% set system = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' %}{% set messages = messages[1:] %}
{%- else %}{% set system = '' %}{% endif %}
{%- for m in messages %}
{%- if m.role == 'user' %}{{- bos_token + '[INST] ' + (system if loop.index0 == 0 else '') + m.content.strip() + ' [/INST]' }}
{%- else %}{{- ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""
MISTRAL = """{{- bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{- '[INST] ' + m.content + '[/INST]' }}
{%- elif m.role == 'assistant' %}{{- ' ' + m.content + eos_token }}{% else %}{{- raise_exception('Only user and assistant roles are supported!') }}
{%- endif %}{% endfor %}"""
LLAMA3 = """{{- bos_token }}{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + strftime_now('%d %b %Y') + '<|eot_id|>' }}
{%- for m in messages %}{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}{% endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
GEMMA = """{{- bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{- raise_exception('System role not supported') }}{% endif %}
{{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + m.content | trim + '<end_of_turn>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{% endif %}"""
CHATML = """{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}"""
QWEN25 = """{%- if messages[0].role != 'system' %}{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}""" + CHATML
QWEN3 = """{%- for m in messages %}{% set body = m.content %}{% set thought = '' %}
{%- if m.role == 'assistant' and '</think>' in body %}{% set thought = body.split('</think>')[0].split('<think>')[-1].strip('\\n') %}
{%- set body = body.split('</think>')[-1].lstrip('\\n') %}{% endif %}
{%- if m.role == 'assistant' and loop.last %}{{- '<|im_start|>assistant\\n<think>\\n' + thought + '\\n</think>\\n\\n' + body + '<|im_end|>\\n' }}
{%- else %}{{- '<|im_start|>' + m.role + '\\n' + body + '<|im_end|>\\n' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% if enable_thinking is defined and not enable_thinking %}{{- '<think>\\n\\n</think>\\n\\n' }}
{%- endif %}{% endif %}"""
R1 = """{{- bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{- '<|im_start|>' + m.content }}
{%- else %}{% set body = m.content %}{% if '</think>' in body %}{% set body = body.split('</think>')[-1] %}{% endif %}
{{- '<|im_end|>' + body + eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{- '<|im_end|><think>\\n' }}{% endif %}"""
PHI3 = """{%- for m in messages %}{{- '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{% else %}{{- eos_token }}{% endif %}"""
VICUNA = """{{- bos_token }}{% if messages[0].role == 'system' %}{{- messages[0].content + ' ' }}{% set messages = messages[1:] %}{% endif %}
{%- for m in messages %}{% if m.role == 'user' %}{{- 'USER: ' + m.content + ' ' }}{% else %}{{- 'ASSISTANT: ' + m.content + eos_token }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{- 'ASSISTANT:' }}{% endif %}"""
TEMPLATES = {
    "llama2": LLAMA2, "llama3": LLAMA3, "mistral": MISTRAL, "gemma": GEMMA, "qwen2.5": QWEN25, "qwen3": QWEN3, "r1": R1, "phi3": PHI3, "chatml": CHATML,
    "vicuna": VICUNA,
}  # fmt: skip
SPECIAL = [
    "<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>",
    "<|user|>", "<|assistant|>", "<|end|>",
]  # fmt: skip
TEXTS = {"Name a tool.": "A brush, or a saw.", "Say hi": "hello there", "And 2 + 2?": "4: two and two.\nSo four."}


def byte_level() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        [*TEXTS, *TEXTS.values()] * 3,
        trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False),
    )
    return made


def sentencepiece(scheme: str, *, knows_bytes: bool) -> Tokenizer:
    made = Tokenizer(models.BPE(byte_fallback=knows_bytes, unk_token="<unk>", fuse_unk=True))
    if scheme == "legacy":
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=True)
    made.train_from_iterator([*TEXTS, *TEXTS.values(), "user assistant system model INST\n"] * 3, trainers.BpeTrainer(
        vocab_size=500, special_tokens=[*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))], show_progress=False
    ))  # fmt: skip
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    # The bytes are plain tokens.
    data = json.loads(made.to_str())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] in SPECIAL]
    return Tokenizer.from_str(json.dumps(data))


def tokenizer_of(kind: str, template: str, *, knows_bytes: bool = True) -> PreTrainedTokenizerFast:
    made = byte_level() if kind == "byte" else sentencepiece(kind, knows_bytes=knows_bytes)
    found = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>", chat_template=template)  # type: ignore[no-untyped-call]
    found.add_special_tokens({"additional_special_tokens": SPECIAL[3:]})
    return found
