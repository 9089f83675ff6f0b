"""The engine that a loading becomes, opened."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sgpo_data.engines import Scorer
from sgpo_data.engines.loading import NO_SCORER, Loading, ServerLoading, WeightsLoading, check_installed
from sgpo_data.errors import RecipeError
from sgpo_data.execution import Execution

if TYPE_CHECKING:
    from sgpo_data.engines.local.transformers import TransformersEngine
    from sgpo_data.engines.server.openai import OpenAIEngine
    from sgpo_data.engines.vllm.engine import VllmEngine

    LocalEngine: TypeAlias = TransformersEngine | VllmEngine


def open_engine(loading: WeightsLoading, folder: Path, *, adapter: Path | None, how: Execution) -> "LocalEngine":
    """The model, loaded.

    Raises ModelError if the folder is no model with a chat template, MissingExtraError if the engine is not installed.
    """
    # What the engines import takes seconds: only for work that needs it.
    if loading.engine == "vllm":
        from sgpo_data.engines.vllm.engine import VllmEngine

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
            chat=loading.chat,
        )
    from sgpo_data.engines.local.transformers import TransformersEngine

    return TransformersEngine.load(
        folder,
        dtype=loading.dtype,
        context_tokens=loading.context_tokens,
        adapter=adapter,
        device=how.device,
        batch_tokens=how.batch_tokens,
        window=how.window,
        chat=loading.chat,
    )


def check_openable(loading: Loading, folder: Path, *, adapter: Path | None, how: Execution) -> None:
    """Raises what `open_engine` or `connect` would, as far as it shows without loading a weight or asking a server."""
    if isinstance(loading, ServerLoading):
        check_installed(loading.engine)
    elif loading.engine == "vllm":
        from sgpo_data.engines.vllm.engine import VllmEngine

        VllmEngine.check(folder, adapter=adapter, chat=loading.chat)
    else:
        from sgpo_data.engines.local.transformers import TransformersEngine

        TransformersEngine.check(folder, adapter=adapter, device=how.device, chat=loading.chat)


def connect(loading: ServerLoading, *, how: Execution) -> "OpenAIEngine":
    """The server, after it has answered that it has the model.

    Raises MissingExtraError if what talks to it is not installed, ServerError if no server answers.
    """
    from sgpo_data.engines.server.openai import OpenAIEngine

    return OpenAIEngine.connect(
        loading.endpoint,
        base_url=how.base_url,
        key_variable=how.key_variable,
        window=how.window,
        request_seconds=how.request_seconds,
        template=loading.chat.template,
    )


def scorer_of(engine: object) -> Scorer:
    """The engine, if it can score.

    Raises RecipeError if it is a server.
    """
    if not isinstance(engine, Scorer):
        raise RecipeError(NO_SCORER)
    return engine
