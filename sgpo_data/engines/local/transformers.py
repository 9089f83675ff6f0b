"""The engine that runs a model folder in this process, with transformers."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sgpo_data.engines import ChatTemplate, GenerateRequest, Generation, Scored, ScoreRequest
from sgpo_data.engines.chat import Chat, load_chat
from sgpo_data.engines.loading import DEFAULT_TEMPLATE, check_installed
from sgpo_data.errors import EngineError, ModelError, RecipeError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sgpo_data.engines.local.packable import Way

DTYPES = ("float32", "bfloat16", "float16")


class TransformersEngine:
    """Generates and scores with a model in memory; one stream at a time."""

    def __init__(self, model: PreTrainedModel, chat: Chat, *, context_tokens: int, batch_tokens: int, window: int) -> None:
        self.context_tokens = context_tokens
        self._batch_tokens = batch_tokens
        self._window = window
        self._loaded: tuple[PreTrainedModel, Chat] | None = (model, chat)
        self._way: Way | None = None
        """How it scores, once it has found out."""

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        dtype: str,
        context_tokens: int | None,
        adapter: Path | None,
        device: str,
        batch_tokens: int,
        window: int,
        chat: ChatTemplate = DEFAULT_TEMPLATE,
    ) -> TransformersEngine:
        """The model of a folder that `save_pretrained` wrote, with the weights of a LoRA adapter merged in if one is given.

        `context_tokens` None is the longest context the model declares. `device` is auto, cpu, cuda or cuda:1; auto takes the GPU if there is one.
        `batch_tokens` bounds a batch in padded tokens, `window` the requests that are drawn and not yet given back. Code in the folder is never run.

        Raises ModelError if the folder lacks config, weights, tokenizer, chat template or so long a context.
        """
        check_installed("transformers")
        if dtype not in DTYPES:
            raise RecipeError(f"dtype: {dtype} is not one of {', '.join(DTYPES)}")
        model = _load_model(folder, dtype=dtype, device=_device(device))
        rendered_by = load_chat(folder, chat)
        if adapter is not None:
            from sgpo_data.engines.local.weights import merged

            model = merged(model, adapter)
        context_tokens = _context(model, folder, asked=context_tokens)
        return cls(model, rendered_by, context_tokens=context_tokens, batch_tokens=batch_tokens, window=window)

    @staticmethod
    def check(folder: Path, *, adapter: Path | None, device: str, chat: ChatTemplate) -> None:
        """Raises what `load` would, as far as it shows in the files besides the weights, and in names and shapes of these."""
        from sgpo_data.engines.local.weights import check_mergeable

        check_installed("transformers")
        _device(device)
        check_mergeable(folder, adapter)
        load_chat(folder, chat)

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        """As `Generator.generate`."""
        from sgpo_data.engines.local.decoding import Decoding

        model, chat = self._open()
        decoding = Decoding(model, chat, context_tokens=self.context_tokens, batch_tokens=self._batch_tokens, window=self._window)
        return decoding.generations(requests)

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
        """As `Scorer.score`."""
        from sgpo_data.engines.local.likelihood import Scoring
        from sgpo_data.engines.local.packable import way

        model, chat = self._open()
        self._way = self._way or way(model)
        scoring = Scoring(model, chat, self._way, context_tokens=self.context_tokens, batch_tokens=self._batch_tokens, window=self._window)
        return scoring.scored(requests)

    def close(self) -> None:
        """Frees the memory of the model; nothing may be asked afterwards."""
        import torch

        self._loaded, self._way = None, None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def accelerator(self) -> str | None:
        """Name of the GPU that the model is on, None on the CPU."""
        import torch

        model, _ = self._open()
        return torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else None

    def _open(self) -> tuple[PreTrainedModel, Chat]:
        if self._loaded is None:
            raise EngineError("the engine is closed")
        return self._loaded


def _device(asked: str) -> str:
    import torch

    available = torch.cuda.is_available()
    if asked == "auto":
        return "cuda" if available else "cpu"
    if asked.startswith("cuda") and not available:
        raise EngineError(f"device {asked}: this machine has no GPU that torch can use; give cpu or auto")
    return asked


def _load_model(folder: Path, *, dtype: str, device: str) -> PreTrainedModel:
    from torch import nn

    from sgpo_data.engines.local.grouped_attention import NAME
    from sgpo_data.engines.local.weights import load_weights
    from sgpo_data.engines.threads import fit_threads

    model = load_weights(folder, dtype=dtype)
    if getattr(model.config.get_text_config(), "attn_logit_softcapping", None) is not None:
        # Its usual kernels leave the cap on attention out without a word.
        model.set_attn_implementation("eager")
    elif model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)
    fit_threads(model)
    return nn.Module.to(model, device)


def _context(model: PreTrainedModel, folder: Path, *, asked: int | None) -> int:
    declared: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    context_tokens = declared if asked is None else asked
    if context_tokens is None:
        raise ModelError(f"{folder}: config.json has no max_position_embeddings; give context_tokens")
    if declared is not None and context_tokens > declared:
        raise RecipeError(f"context_tokens: {context_tokens} is more than the {declared} positions of {folder}; lower it")
    return context_tokens
