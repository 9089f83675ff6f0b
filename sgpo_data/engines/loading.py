"""How a model is to be loaded: what auto stands for, and the engine it becomes."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from sgpo_data.engines import ChatTemplate
from sgpo_data.errors import MissingExtraError, ModelError, RecipeError
from sgpo_data.names import ENDPOINT

log = logging.getLogger(__name__)

DTYPES = ("float32", "bfloat16", "float16")

Work = Literal["generate", "score"]

_PACKAGES = {"transformers": ("models", ("torch", "transformers")), "vllm": ("vllm", ("vllm", "transformers")), "openai": ("openai", ("openai",))}
"""Of each engine, the extra that installs it, and the packages of it that it starts with."""

DEFAULT_TEMPLATE = ChatTemplate()
"""The model's own, told nothing."""


@dataclass(frozen=True)
class WeightsLoading:
    """Everything about loading weights that decides the rows."""

    engine: str
    dtype: str
    context_tokens: int
    quantization: str | None = None
    chat: ChatTemplate = DEFAULT_TEMPLATE

    @property
    def keys(self) -> Mapping[str, str | int | None]:
        """The values it settles, as keys of a stage."""
        return {"engine": self.engine, "dtype": self.dtype, "context_tokens": self.context_tokens}


@dataclass(frozen=True)
class ServerLoading:
    """Everything about asking a server that decides the rows; it has the type and the context it was started with."""

    engine: str
    endpoint: str
    """What the server calls the model."""
    chat: ChatTemplate = DEFAULT_TEMPLATE

    @property
    def keys(self) -> Mapping[str, str | int | None]:
        """The values it settles, as keys of a stage."""
        return {"engine": self.engine, "dtype": "auto", "context_tokens": None}


Loading = WeightsLoading | ServerLoading
"""Weights that are loaded, or a server that is asked."""


def weights_loading(
    engine: str,
    dtype: str,
    context_tokens: int | None,
    folder: Path,
    *,
    work: Work = "generate",
    quantization: str | None = None,
    chat: ChatTemplate = DEFAULT_TEMPLATE,
) -> WeightsLoading:
    """The same with every default resolved: the engine that suits the work, the dtype of the checkpoint, the context of the model.

    Raises ModelError if the model's config.json does not say, RecipeError if the context asked for is longer than the model's or the engine cannot do
    what is asked.
    """
    if engine == "openai":
        raise RecipeError(f"engine: openai is for a model at a server; name it as {ENDPOINT}NAME")
    path = folder / "config.json"
    if not path.exists() and (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder}: an adapter, not a whole model; give the model that it was trained over, and this folder as its adapter")
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); give a model folder") from error
    limit = config.get("max_position_embeddings") or config.get("n_positions")
    if context_tokens is None and not isinstance(limit, int):
        raise ModelError(f"{path}: no max_position_embeddings; say how long the context is with --context-tokens")
    if context_tokens is not None and isinstance(limit, int) and context_tokens > limit:
        raise RecipeError(f"--context-tokens: {context_tokens} is more than the model's {limit}; give at most that")
    kept = config.get("dtype") or config.get("torch_dtype")
    chosen = automatic(work) if engine == "auto" else engine
    if quantization is not None and chosen != "vllm":
        raise RecipeError(f"quantization: {quantization} is for engine vllm, and it is {chosen}; leave it out")
    return WeightsLoading(
        chosen,
        dtype=(kept if kept in DTYPES else "float32") if dtype == "auto" else dtype,
        context_tokens=context_tokens or limit,
        quantization=quantization,
        chat=ChatTemplate(template=chat.template, template_name=chat.template_name),
    )


def server_loading(
    engine: str,
    dtype: str,
    context_tokens: int | None,
    endpoint: str,
    *,
    work: Work = "generate",
    quantization: str | None = None,
    chat: ChatTemplate = DEFAULT_TEMPLATE,
) -> ServerLoading:
    """How a model at a server is reached.

    Raises RecipeError for what cannot be asked of a server.
    """
    if engine not in ("auto", "openai"):
        raise RecipeError(f"engine: {engine} runs model folders, and the model is at a server; give openai or auto")
    if work == "score":
        raise RecipeError(NO_SCORER)
    own = {"dtype": None if dtype == "auto" else dtype, "context_tokens": context_tokens, "quantization": quantization, "template_name": chat.template_name}
    for name, value in own.items():
        if value is not None:
            raise RecipeError(f"{name}: {value} cannot be asked of a server, which was started with its own; leave it out")
    return ServerLoading("openai", endpoint, chat=ChatTemplate(template=chat.template))


def check_installed(engine: str) -> None:
    """Raises MissingExtraError if what this engine runs on is not installed."""
    extra, packages = _PACKAGES[engine]
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(extra, package)


@cache
def automatic(work: Work) -> str:
    """The engine for a model folder on this machine; says which and why, once."""
    if work == "score":
        engine, reason = "transformers", "it computes a prompt once for all its answers, with an adapter or without"
    elif find_spec("vllm") is None:
        engine, reason = "transformers", "vllm is not installed"
    elif not _gpu():
        engine, reason = "transformers", "there is no GPU"
    else:
        engine, reason = "vllm", "it is installed and there is a GPU"
    log.info("engine %s to %s: %s", engine, work, reason)
    return engine


NO_SCORER = "engine: openai cannot score, since a server does not tell how likely a given text is; name a model folder as the scorer"

# vllm-project/vllm issues 16668 and 51594: prompt log-probabilities with an adapter are wrong, or end the engine.
NO_ADAPTED_SCORER = "engine: vllm cannot score with an adapter; use transformers"


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()
