"""Rewards: how good an answer is to a reward model, as a stream of requests in and a stream of results out."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sgpo_data.engines import Rewarded, RewardRequest
from sgpo_data.engines.chat import Chat, load_chat
from sgpo_data.engines.local.stored import check_stored
from sgpo_data.engines.reading import read_by_library
from sgpo_data.errors import EngineError, MissingExtraError, ModelError
from sgpo_data.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WINDOW = 32
"""Requests that are drawn and not yet given back: enough to put answers of like length together."""


class ClassifierRewarder:
    """A transformers sequence classifier with one label, whose logit is the reward of a conversation that ends with the answer."""

    def __init__(self, model: PreTrainedModel, chat: Chat, *, context_tokens: int, batch_tokens: int) -> None:
        self._loaded: tuple[PreTrainedModel, Chat] | None = (model, chat)
        self._context_tokens = context_tokens
        # Without one, the model would take the last column for the last token.
        self._padding: int | None = model.config.get_text_config().pad_token_id
        self._batch_tokens = batch_tokens

    @classmethod
    def load(cls, folder: Path, *, dtype: str, context_tokens: int, device: str, batch_tokens: int) -> ClassifierRewarder:
        """The classifier of a folder that `save_pretrained` wrote; a batch is at most `batch_tokens` padded tokens. Code in the folder is never run.

        Raises ModelError if the folder is no sequence classifier with one label and a chat template.
        """
        model = _classifier(folder, dtype=dtype)
        from torch import nn

        from sgpo_data.engines.threads import fit_threads

        fit_threads(model, beside=True)
        return cls(nn.Module.to(model, _device(device)), load_chat(folder), context_tokens=context_tokens, batch_tokens=batch_tokens)

    @staticmethod
    def check(folder: Path, *, dtype: str) -> None:
        """Raises what `load` would, as far as it shows in the files besides the weights, and in names and shapes of these."""
        _classifier(folder, dtype=dtype, device="meta")
        load_chat(folder)

    def reward(self, requests: Iterable[RewardRequest]) -> Iterator[Rewarded]:
        """As `Rewarder.reward`."""
        source = iter(requests)
        while drawn := list(islice(source, WINDOW)):
            texts = [(at, place, self._ids(request.messages, answer)) for at, request in enumerate(drawn) for place, answer in enumerate(request.answers)]
            found: list[list[float | None]] = [[None] * len(request.answers) for request in drawn]
            fitting = [(at, place, ids) for at, place, ids in texts if ids is not None and len(ids) <= self._context_tokens]
            for batch in self._batches(fitting):
                for (at, place, _), reward in zip(batch, self._rewards([ids for *_, ids in batch]), strict=True):
                    found[at][place] = reward
            yield from (Rewarded(request.key, tuple(rewards)) for request, rewards in zip(drawn, found, strict=True))

    def close(self) -> None:
        """Frees the memory of the model; nothing may be asked afterwards."""
        import torch

        self._loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _open(self) -> tuple[PreTrainedModel, Chat]:
        if self._loaded is None:
            raise EngineError("the reward model is closed")
        return self._loaded

    def _ids(self, messages: Sequence[Message], answer: str) -> list[int] | None:
        """The conversation with the answer as its last turn; None if the template refuses it."""
        _, chat = self._open()
        read = chat.rendering(messages, answer)
        if read is None:
            return None
        return [*read.prompt, *(read.answer if chat.writes_end else read.answer[:-1]), *read.closing]

    def _batches(self, texts: Iterable[tuple[int, int, list[int]]]) -> list[list[tuple[int, int, list[int]]]]:
        batches: list[list[tuple[int, int, list[int]]]] = []
        for text in sorted(texts, key=lambda text: len(text[2])):
            fits = batches and self._padding is not None and len(text[2]) * (len(batches[-1]) + 1) <= self._batch_tokens
            batches[-1].append(text) if fits else batches.append([text])
        return batches

    def _rewards(self, batch: Sequence[list[int]]) -> list[float]:
        import torch

        model, _ = self._open()
        width = max(map(len, batch))
        padding = self._padding or 0
        # On the right: a decoder looks for its last token, an encoder for its first.
        ids = torch.tensor([[*text, *[padding] * (width - len(text))] for text in batch], device=model.device)
        mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in batch], device=model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits[:, 0]
        rewards: list[float] = logits.double().tolist()
        if not all(map(math.isfinite, rewards)):
            raise EngineError("a reward is no finite number: the weights do not compute in this dtype; use reward.dtype float32 or bfloat16")
        return rewards


def _classifier(folder: Path, *, dtype: str, device: str | None = None) -> PreTrainedModel:
    try:
        import torch
        from transformers import AutoModelForSequenceClassification
    except ImportError as error:
        raise MissingExtraError("models", error.name or "transformers") from error
    check_stored(folder)
    with read_by_library(f"{folder}: the reward model cannot be read"):
        # Its annotation does not know of the second.
        both: Any = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=getattr(torch, dtype), device_map=device, local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    model, loaded = both
    if loaded["missing_keys"]:
        raise ModelError(f"{folder}: has no {sorted(loaded['missing_keys'])[0]}, so this is no reward model; give a sequence classifier")
    if model.config.num_labels != 1:
        raise ModelError(f"{folder}: has {model.config.num_labels} labels, and a reward model has one; give another classifier")
    return cast("PreTrainedModel", model)


def _device(asked: str) -> str:
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if asked == "auto" else asked
