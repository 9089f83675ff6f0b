"""The engine that a loading becomes, opened."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sgpo_data.engines import Scorer
from sgpo_data.engines.loading import NO_SCORER, Loading, check_installed
from sgpo_data.errors import RecipeError
from sgpo_data.execution import Execution

if TYPE_CHECKING:
    from sgpo_data.engines.local.transformers import TransformersEngine
    from sgpo_data.engines.server.openai import OpenAIEngine
    from sgpo_data.engines.vllm.engine import VllmEngine

    Engine: TypeAlias = TransformersEngine | VllmEngine | OpenAIEngine


def open_engine(
    loading: Loading,
    folder: Path,
    *,
    adapter: Path | None,
    endpoint: str | None = None,
    how: Execution,
) -> "Engine":
    """The model, loaded, or the server, asked whether it is there.

    Raises ModelError if the folder is no model with a chat template, MissingExtraError if the engine is not installed, ServerError if no server answers.
    """
    # What the engines import takes seconds: only for work that needs it.
    if endpoint is not None:
        from sgpo_data.engines.server.openai import OpenAIEngine

        if adapter is not None:
            raise RecipeError(f"{adapter}: an adapter cannot be given to a server; have the server load it under a name of its own")
        return OpenAIEngine.connect(
            endpoint,
            base_url=how.base_url,
            key_variable=how.key_variable,
            window=how.window,
            request_seconds=how.request_seconds,
            template=loading.chat.template,
        )
    if loading.engine == "vllm":
        from sgpo_data.engines.vllm.engine import VllmEngine

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


def check_openable(loading: Loading, folder: Path, *, adapter: Path | None, endpoint: str | None, how: Execution) -> None:
    """Raises what `open_engine` would, as far as it shows without loading a weight or asking a server."""
    if endpoint is not None:
        check_installed("openai")
    elif loading.engine == "vllm":
        from sgpo_data.engines.vllm.engine import VllmEngine

        VllmEngine.check(folder, adapter=adapter, chat=loading.chat)
    else:
        from sgpo_data.engines.local.transformers import TransformersEngine

        TransformersEngine.check(folder, adapter=adapter, device=how.device, chat=loading.chat)


def scorer_of(engine: object) -> Scorer:
    """The engine, if it can score.

    Raises RecipeError if it is a server.
    """
    if not isinstance(engine, Scorer):
        raise RecipeError(NO_SCORER)
    return engine
