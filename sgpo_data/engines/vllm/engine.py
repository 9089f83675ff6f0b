"""The engine that runs a model folder in this process, with vLLM."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sgpo_data.engines import ChatTemplate, GenerateRequest, Generation, Scored, ScoreRequest
from sgpo_data.engines.chat import Chat, load_chat
from sgpo_data.engines.loading import DEFAULT_TEMPLATE, NO_ADAPTED_SCORER, check_installed
from sgpo_data.engines.local.weights import check_fit
from sgpo_data.errors import EngineError, ModelError, RecipeError, first_line

if TYPE_CHECKING:
    from vllm.lora.request import LoRARequest
    from vllm.v1.engine.llm_engine import LLMEngine

SETTINGS = {
    # A process of its own would outlive a kill of this one and keep the GPU.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
}
FIXED = {
    # Ids go in and come out, and nothing but the recipe decides how they are sampled.
    "skip_tokenizer_init": True,
    "generation_config": "vllm",
    "logprobs_mode": "raw_logprobs",
    "seed": 0,
    "trust_remote_code": False,
    "disable_log_stats": True,
    "use_tqdm_on_load": False,
}
MOST_ROWS = 1024
"""Rows computed at once; the rest of a wider window waits. vLLM's own default on a large GPU."""
CPU_CACHE_BYTES = 1 << 30
"""Key-value cache on a CPU if no share of the memory is given; vLLM would take nearly all of it."""
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM reserves room for: vllm/config/lora.py, MaxLoRARanks."""


class VllmEngine:
    """Generates and scores with a model in memory; one stream at a time."""

    def __init__(self, engine: LLMEngine, chat: Chat, *, stop_ids: frozenset[int], context_tokens: int, window: int, lora: LoRARequest | None = None) -> None:
        self.context_tokens = context_tokens
        self._stop_ids = stop_ids
        self._window = window
        self._lora = lora
        self._loaded: tuple[LLMEngine, Chat] | None = (engine, chat)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        dtype: str,
        context_tokens: int,
        adapter: Path | None,
        device: str,
        batch_tokens: int,
        window: int,
        quantization: str | None = None,
        tensor_parallel: int = 1,
        memory_share: float | None = None,
        chat: ChatTemplate = DEFAULT_TEMPLATE,
    ) -> VllmEngine:
        """The model of a folder that `save_pretrained` wrote, with a LoRA adapter beside its weights if one is given.

        `device` is auto, cpu or cuda, as vLLM was built for. `batch_tokens` bounds the tokens of one step, `window` the requests that are drawn and not
        yet given back, `memory_share` the part of the device's memory that is taken. Code in the folder is never run. The random state of the process is set.

        Raises ModelError if the folder lacks something, EngineError if vLLM cannot load it here.
        """
        rendered_by = cls.check(folder, adapter=adapter, chat=chat)
        rank = None if adapter is None else _rank(adapter)
        settings: dict[str, object] = {
            "model": str(folder),
            "dtype": dtype,
            "max_model_len": context_tokens,
            "quantization": quantization,
            "tensor_parallel_size": tensor_parallel,
            "max_num_seqs": min(window, MOST_ROWS),
            "max_num_batched_tokens": max(batch_tokens, context_tokens, min(window, MOST_ROWS)),
            "enable_lora": rank is not None,
            "max_lora_rank": rank or RANKS[0],
            **({} if memory_share is None else {"gpu_memory_utilization": memory_share}),
        }
        engine = _start(folder, settings, device=device, cache_bytes=CPU_CACHE_BYTES if memory_share is None else None)
        loaded = cls(engine, rendered_by, stop_ids=_stop_ids(rendered_by, folder), context_tokens=context_tokens, window=window)
        if adapter is not None:
            loaded._adapt(adapter)
        return loaded

    @staticmethod
    def check(folder: Path, *, adapter: Path | None, chat: ChatTemplate) -> Chat:
        """The chat of the folder; raises what `load` would, as far as it shows in the files besides the weights, and in names and shapes of these."""
        check_installed("vllm")
        rendered_by = load_chat(folder, chat)
        if adapter is not None:
            _rank(adapter)
        check_fit(folder, adapter)
        return rendered_by

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        """As `Generator.generate`."""
        from sgpo_data.engines.vllm.steps import Steps, generations

        engine, chat = self._open()
        steps = Steps(engine, context_tokens=self.context_tokens, window=self._window, lora=self._lora)
        return generations(steps, chat, requests, stop_ids=self._stop_ids)

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
        """As `Scorer.score`, without an adapter only; the logits of a whole step are in memory at once.

        Raises RecipeError if there is an adapter.
        """
        from sgpo_data.engines.vllm.steps import Steps, scored

        engine, chat = self._open()
        if self._lora is not None:
            raise RecipeError(NO_ADAPTED_SCORER)
        return scored(Steps(engine, context_tokens=self.context_tokens, window=self._window, lora=None), chat, requests)

    def close(self) -> None:
        """Frees the memory of the model; nothing may be asked afterwards."""
        import torch

        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded[0].engine_core.shutdown()
        del loaded
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def accelerator(self) -> str | None:
        """Name of the GPU that the model is on, None on the CPU."""
        from vllm.platforms import current_platform

        return None if current_platform.is_cpu() else str(current_platform.get_device_name())

    def _open(self) -> tuple[LLMEngine, Chat]:
        if self._loaded is None:
            raise EngineError("the engine is closed")
        return self._loaded

    def _adapt(self, adapter: Path) -> None:
        from vllm.lora.request import LoRARequest

        lora = LoRARequest("adapter", 1, str(adapter))
        try:
            self._open()[0].add_lora(lora)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            self.close()
            raise ModelError(f"{adapter}: the adapter does not fit the model: {first_line(error)}") from error
        self._lora = lora


def _start(folder: Path, settings: Mapping[str, object], *, device: str, cache_bytes: int | None) -> LLMEngine:
    import torch

    for name, value in SETTINGS.items():
        # Read when vllm is imported.
        os.environ.setdefault(name, value)
    from safetensors import SafetensorError
    from vllm import EngineArgs
    from vllm.platforms import current_platform
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.llm_engine import LLMEngine

    on_cpu = bool(current_platform.is_cpu())
    _check_device(device, on_cpu=on_cpu)
    set_num_threads = torch.set_num_threads
    try:
        arguments = EngineArgs(**settings, **FIXED, **(_on_cpu(cache_bytes) if on_cpu else {}))
        engine: LLMEngine = LLMEngine.from_engine_args(arguments, usage_context=UsageContext.LLM_CLASS)
    except (OSError, ValueError, KeyError, AssertionError, RuntimeError, SafetensorError) as error:
        raise EngineError(f"{folder}: vllm cannot load the model: {_reason(error)}; mend that, or use engine transformers") from error
    finally:
        # The CPU worker replaces it with a function that does nothing, for the whole process.
        torch.set_num_threads = set_num_threads
    return engine


def _on_cpu(cache_bytes: int | None) -> dict[str, object]:
    # A prompt that is read in pieces ends the engine if its row has a seed: gpu_model_runner.py rewinds the generator, and those of the CPU cannot be.
    return {"enforce_eager": True, "enable_chunked_prefill": False, "kv_cache_memory_bytes": cache_bytes}


def _check_device(device: str, *, on_cpu: bool) -> None:
    if device.startswith("cuda:"):
        raise EngineError(f"device {device}: vllm takes the first GPUs that are visible; set CUDA_VISIBLE_DEVICES and give cuda")
    if device != "auto" and (device == "cpu") != on_cpu:
        raise EngineError(f"device {device}: vllm is built for the {'CPU' if on_cpu else 'GPU'} here; give auto, or use engine transformers")


def _rank(adapter: Path) -> int:
    """The smallest rank vLLM knows that the adapter fits in."""
    path = adapter / "adapter_config.json"
    if not path.is_file():
        raise ModelError(f"{adapter}: no adapter_config.json, so this is no adapter folder; give the folder that training wrote")
    rank = json.loads(path.read_bytes()).get("r")
    fitting = [known for known in RANKS if isinstance(rank, int) and known >= rank]
    if not fitting:
        raise ModelError(f"{path}: r is {rank}, and vllm takes ranks up to {RANKS[-1]}; use engine transformers")
    return fitting[0]


def _stop_ids(chat: Chat, folder: Path) -> frozenset[int]:
    """As the model that transformers loads from this folder has them."""
    from transformers import AutoConfig, GenerationConfig

    try:
        config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    except OSError:
        config = GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
    return chat.stop_ids(config.eos_token_id)


def _reason(error: BaseException) -> str:
    """The first line that says something; pydantic begins with a count."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[1] if len(lines) > 1 and "validation error" in lines[0] else first_line(error)
