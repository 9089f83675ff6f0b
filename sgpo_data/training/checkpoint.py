"""What a checkpoint says of itself in config.json, before it is loaded."""

import json
from pathlib import Path

from pydantic import JsonValue

from sgpo_data.engines.loading import DTYPES
from sgpo_data.errors import ModelError


def checkpoint_dtype(folder: Path) -> str:
    """Type of the weights, float32 if config.json does not say.

    Raises ModelError if it cannot be read.
    """
    config = _config(folder)
    dtype = config.get("dtype") or config.get("torch_dtype")
    return dtype if isinstance(dtype, str) and dtype in DTYPES else "float32"


def checkpoint_context(folder: Path) -> int | None:
    """The longest context, if the model has one.

    Raises ModelError if config.json cannot be read.
    """
    config = _config(folder)
    context = config.get("max_position_embeddings") or config.get("n_positions")
    return context if isinstance(context, int) else None


def caps_attention(folder: Path) -> bool:
    """Whether its attention has a cap, which the usual kernels leave out without a word.

    Raises ModelError if config.json cannot be read.
    """
    config = _config(folder)
    text = config.get("text_config")
    return any(isinstance(each, dict) and each.get("attn_logit_softcapping") is not None for each in (config, text))


def _config(folder: Path) -> dict[str, JsonValue]:
    path = folder / "config.json"
    try:
        config: dict[str, JsonValue] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); give a model folder") from error
    return config
