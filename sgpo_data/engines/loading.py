"""How a model is to be loaded: what auto stands for, and the engine it becomes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sgpo_data.errors import DatasetError

if TYPE_CHECKING:
    from sgpo_data.engines.transformers import TransformersEngine

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Loading:
    """All about loading a model that decides the rows."""

    engine: str
    dtype: str
    context_tokens: int


def resolved(engine: str, dtype: str, context_tokens: int | None, folder: Path) -> Loading:
    """The same with nothing left to be guessed: dtype of the checkpoint, context of the model.

    Raises DatasetError if the model's config.json does not say, or the context asked for is longer than the model's.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: can not be read ({error}); give a model folder") from error
    limit = config.get("max_position_embeddings") or config.get("n_positions")
    if context_tokens is None and not isinstance(limit, int):
        raise DatasetError(f"{path}: no max_position_embeddings; say how long the context is with --context-tokens")
    if context_tokens is not None and isinstance(limit, int) and context_tokens > limit:
        raise DatasetError(f"--context-tokens: {context_tokens} is more than the model's {limit}; give at most that")
    kept = config.get("dtype") or config.get("torch_dtype")
    return Loading(
        engine="transformers" if engine == "auto" else engine,
        dtype=(kept if kept in DTYPES else "float32") if dtype == "auto" else dtype,
        context_tokens=context_tokens or limit,
    )


def open_engine(loading: Loading, folder: Path, *, adapter: Path | None, device: str, batch_tokens: int, window: int) -> "TransformersEngine":
    """The model, loaded.

    Raises DatasetError if the folder is no model with a chat template, MissingExtraError if the engine is not installed.
    """
    # PyTorch takes seconds to import: only for work that needs it.
    from sgpo_data.engines.transformers import TransformersEngine

    return TransformersEngine.load(
        folder,
        dtype=loading.dtype,
        context_tokens=loading.context_tokens,
        adapter=adapter,
        device=device,
        batch_tokens=batch_tokens,
        window=window,
    )
