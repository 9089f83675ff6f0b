"""The tensors that a model folder stores: of the kind that config.json says, and with numbers in them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sgpo_data.engines.reading import read_by_library
from sgpo_data.errors import ModelError

PACKED = frozenset(["awq", "bitsandbytes", "fbgemm_fp8", "fp8", "gptq", "mxfp4"])
"""Values of `quantization_config.quant_method` whose weights are integers or float8; by others plain weights may be quantized while they are loaded."""
PLAIN = frozenset(["F64", "F32", "F16", "BF16"])
"""https://github.com/huggingface/safetensors: what it calls the types of weights that are not quantized."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as the head of its file describes it."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_matrix(self) -> bool:
        """Whether it multiplies: norms and biases may well be ones and zeros."""
        return len(self.shape) > 1 and self.values > 0

    @property
    def values(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def check_stored(folder: Path) -> None:
    """Reads the heads of the safetensors files and, where weights hold numbers, one small tensor.

    Raises ModelError if config.json says that weights are quantized which are not, or if all weights are zero, NaN or infinite.
    """
    with read_by_library(f"{folder}: the model cannot be read"):
        tensors = list(_stored(folder))
        method = _quantization(folder)
        if tensors and method in PACKED and all(tensor.dtype in PLAIN for tensor in tensors):
            raise ModelError(
                f"{folder}: quantization_config of config.json says {method}, and the weights are plain {tensors[0].dtype};"
                " take it out of config.json, or give the weights that go with it"
            )
        _refuse_empty(folder, sorted((tensor for tensor in tensors if tensor.is_matrix), key=lambda tensor: tensor.values))


def _stored(folder: Path) -> Iterator[StoredTensor]:
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                head = file.get_slice(name)
                yield StoredTensor(path, name, tuple(head.get_shape()), head.get_dtype())


def _quantization(folder: Path) -> str | None:
    config = json.loads((folder / "config.json").read_bytes())
    quantization = config.get("quantization_config") if isinstance(config, dict) else None
    return quantization.get("quant_method") if isinstance(quantization, dict) else None


def _refuse_empty(folder: Path, matrices: list[StoredTensor]) -> None:
    """Nothing if one of these holds a finite number other than zero; the smallest come first, and the first one mostly does."""
    from safetensors import safe_open

    finite = True
    for tensor in matrices:
        with safe_open(tensor.path, "pt") as file:
            values = file.get_tensor(tensor.name).float()
        if bool((values.isfinite() & (values != 0)).any()):
            return
        finite = finite and bool(values.isfinite().all())
    if matrices:
        raise ModelError(f"{folder}: the weights are all {'zero' if finite else 'zero, NaN or infinite'}; copy or download it again, or give another model")
