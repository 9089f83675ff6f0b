"""How a model is to be loaded: what auto stands for, and the engine it becomes."""

import json
import logging
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from sgpo_data.engines import Scorer
from sgpo_data.errors import DatasetError, RecipeError
from sgpo_data.execution import Execution

if TYPE_CHECKING:
    from sgpo_data.engines.openai import OpenAIEngine
    from sgpo_data.engines.replicas import Replicas
    from sgpo_data.engines.transformers import TransformersEngine
    from sgpo_data.engines.vllm import VllmEngine

    Engine: TypeAlias = TransformersEngine | VllmEngine | OpenAIEngine | Replicas

log = logging.getLogger(__name__)

DTYPES = ("float32", "bfloat16", "float16")
ENDPOINT = "openai:"
"""What the reference of a model at a server begins with; its name there follows."""

Work = Literal["generate", "score"]


@dataclass(frozen=True)
class Loading:
    """All about loading a model that decides the rows."""

    engine: str
    dtype: str
    """auto for a model at a server, which alone knows."""
    context_tokens: int | None
    """None for a model at a server, which alone knows."""
    quantization: str | None = None


def endpoint_name(reference: str) -> str | None:
    """The name of a model at a server; None if the reference is of a folder or on the Hub.

    Raises DatasetError if the name is empty.
    """
    if not reference.startswith(ENDPOINT):
        return None
    name = reference.removeprefix(ENDPOINT).strip()
    if not name:
        raise DatasetError(f"{reference}: no name of a model; give the one that the server knows it by, as {ENDPOINT}NAME")
    return name


def resolved(
    engine: str,
    dtype: str,
    context_tokens: int | None,
    folder: Path,
    *,
    work: Work = "generate",
    quantization: str | None = None,
    endpoint: str | None = None,
) -> Loading:
    """The same with nothing left to be guessed: the engine that suits the work, dtype of the checkpoint, context of the model.

    Raises DatasetError if the model's config.json does not say, or the context asked for is longer than the model's;
    RecipeError if the engine can not do what is asked.
    """
    if endpoint is not None:
        return _at_endpoint(engine, dtype, context_tokens, work=work, quantization=quantization)
    if engine == "openai":
        raise RecipeError(f"engine: openai is for a model at a server; name it as {ENDPOINT}NAME")
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
    chosen = automatic(work) if engine == "auto" else engine
    if quantization is not None and chosen != "vllm":
        raise RecipeError(f"quantization: {quantization} is for engine vllm, and it is {chosen}; leave it out")
    return Loading(
        engine=chosen,
        dtype=(kept if kept in DTYPES else "float32") if dtype == "auto" else dtype,
        context_tokens=context_tokens or limit,
        quantization=quantization,
    )


@cache
def automatic(work: Work) -> str:
    """The engine for a model folder on this machine; says which and why, once."""
    if work == "score":
        engine, reason = "transformers", "vllm can not score with an adapter, and this can"
    elif find_spec("vllm") is None:
        engine, reason = "transformers", "vllm is not installed"
    elif not _gpu():
        engine, reason = "transformers", "there is no GPU"
    else:
        engine, reason = "vllm", "it is installed and there is a GPU"
    log.info("engine %s to %s: %s", engine, work, reason)
    return engine


def open_engine(
    loading: Loading,
    folder: Path,
    *,
    adapter: Path | None,
    endpoint: str | None = None,
    how: Execution,
) -> "Engine":
    """The model, loaded, or the server, asked whether it is there.

    Raises DatasetError if the folder is no model with a chat template, MissingExtraError if the engine is not installed, HubError if no server answers.
    """
    # What the engines import takes seconds: only for work that needs it.
    if endpoint is not None:
        from sgpo_data.engines.openai import OpenAIEngine

        if adapter is not None:
            raise RecipeError(f"{adapter}: an adapter can not be given to a server; have the server load it under a name of its own")
        return OpenAIEngine.connect(endpoint, base_url=how.base_url, key_variable=how.key_variable, window=how.window, request_seconds=how.request_seconds)
    if how.data_parallel > 1:
        from sgpo_data.engines.replicas import Replicas

        return Replicas.start(loading, folder, adapter=adapter, how=how)
    if loading.engine == "vllm":
        from sgpo_data.engines.vllm import VllmEngine

        assert loading.context_tokens is not None
        return VllmEngine.load(
            folder,
            dtype=loading.dtype,
            context_tokens=loading.context_tokens,
            adapter=adapter,
            device=how.device,
            batch_tokens=how.batch_tokens,
            window=how.window,
            quantization=loading.quantization,
            tensor_parallel=how.tensor_parallel,
            memory_share=how.memory_share,
        )
    from sgpo_data.engines.transformers import TransformersEngine

    return TransformersEngine.load(
        folder,
        dtype=loading.dtype,
        context_tokens=loading.context_tokens,
        adapter=adapter,
        device=how.device,
        batch_tokens=how.batch_tokens,
        window=how.window,
    )


def scorer_of(engine: "Engine") -> Scorer:
    """The engine, if it can score.

    Raises RecipeError if it is a server.
    """
    from sgpo_data.engines.openai import OpenAIEngine

    if isinstance(engine, OpenAIEngine):
        raise RecipeError(NO_SCORER)
    return engine


NO_SCORER = "engine: openai can not score, since a server does not tell how likely a given text is; name a model folder as the scorer"


def _at_endpoint(engine: str, dtype: str, context_tokens: int | None, *, work: Work, quantization: str | None) -> Loading:
    if engine not in ("auto", "openai"):
        raise RecipeError(f"engine: {engine} runs model folders, and the model is at a server; give openai or auto")
    if work == "score":
        raise RecipeError(NO_SCORER)
    for name, value in (("dtype", None if dtype == "auto" else dtype), ("context_tokens", context_tokens), ("quantization", quantization)):
        if value is not None:
            raise RecipeError(f"{name}: {value} can not be asked of a server, which was started with its own; leave it out")
    return Loading(engine="openai", dtype="auto", context_tokens=None)


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()
