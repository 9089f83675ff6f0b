"""The weights of a model folder: whole, or refused."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sgpo_data.engines.local.stored import check_stored
from sgpo_data.engines.reading import check_generation_config, read_by_library
from sgpo_data.errors import EngineError, MissingExtraError, ModelError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
OTHER_KINDS = ("*.gguf", "*.pth", "*.distcp", "*.pt", "*.onnx")
"""Weights of llama.cpp, of Meta, of FSDP and of others, which transformers does not read."""
NAMED = 3
"""Weights that a refusal names."""


def load_weights(folder: Path, *, dtype: str, device: str | None = None) -> PreTrainedModel:
    """The model of a folder that `save_pretrained` wrote, in evaluation mode; code in the folder is never run. Device meta reads names and shapes alone.

    Raises ModelError if config or weights are missing, if the weights are not those of the config, of which transformers fills in the rest at random, or if
    they hold no numbers.
    """
    check_files(folder)
    check_stored(folder)
    return read_weights(folder, dtype=dtype, device=device)


def read_weights(folder: Path, *, dtype: str, device: str | None = None) -> PreTrainedModel:
    """The same whatever numbers the weights hold, as a training left them.

    Raises ModelError if the weights are not those of the config.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    # Its bars would stand between the lines of ours, and its table of what does not fit is longer than a line.
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    check_generation_config(folder)
    with read_by_library(f"{folder}: the model cannot be read"):
        # Its annotation does not know of the second.
        both: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            device_map=device,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    model, found = both
    refuse_misfits(folder, found)
    return cast("PreTrainedModel", model)


def check_files(folder: Path) -> None:
    """Raises ModelError if the folder lacks the files that make it a model."""
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json, so this is no model folder; give a folder that save_pretrained wrote")
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        others = next((f", only {path.name}" for kind in OTHER_KINDS for path in sorted(folder.glob(kind))), "")
        raise ModelError(f"{folder}: no weights (model.safetensors){others}; give a folder that save_pretrained wrote")


def refuse_misfits(folder: Path, found: dict[str, Any]) -> None:
    """Nothing if every weight of the model came from its file.

    Weights that the model has no place for are named in a warning: a head of another task is left out by design, a layer is not.
    Raises ModelError that names the first weights that did not.
    """
    if missing := sorted(found["missing_keys"]):
        raise ModelError(f"{folder}: the weights lack {_named(missing)}; give the whole folder, or the config that goes with the weights")
    if mismatched := sorted(found["mismatched_keys"]):
        name, kept, wanted = mismatched[0]
        more = f", and {len(mismatched) - 1} more differ" if len(mismatched) > 1 else ""
        raise ModelError(f"{folder}: {name} is {_shape(kept)} in the weights and {_shape(wanted)} in config.json{more}; give the config that goes with them")
    if unexpected := sorted(found["unexpected_keys"]):
        log.warning("%s: the model of config.json has no place for %s; left out", folder, _named(unexpected))


def check_fit(folder: Path, adapter: Path | None) -> None:
    """Reads names and shapes of the weights, and of an adapter's, for an engine that tells less of what does not fit; no weight is kept in memory.

    What transformers cannot hold against a config, as names of quantized weights and models of other kinds, is left to the engine.

    Raises ModelError as `load_weights` and `adapted` do.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    check_files(folder)
    check_stored(folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception:
        return
    if getattr(config, "quantization_config", None) is not None or type(config) not in AutoModelForCausalLM._model_mapping:
        return
    model = load_weights(folder, dtype="float32", device="meta")
    if adapter is not None:
        with nothing_copied():
            adapted(model, adapter)


def check_mergeable(folder: Path, adapter: Path | None) -> None:
    """Reads names and shapes of the weights, and of an adapter's; no weight is kept in memory.

    Raises ModelError as `load_weights` and `merged` do.
    """
    model = load_weights(folder, dtype="float32", device="meta")
    if adapter is not None:
        with nothing_copied():
            _mergeable(model, adapter)


@contextmanager
def nothing_copied() -> Iterator[None]:
    """Without a warning for every weight that it is not copied, where none is meant to be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def adapted(model: PreTrainedModel, adapter: Path) -> PeftModel:
    """The model with a LoRA adapter beside its weights.

    Raises ModelError if the folder is no adapter, or one of another model.
    """
    try:
        from peft import PeftConfig, PeftModel, load_peft_weights, set_peft_model_state_dict
    except ImportError as error:
        raise MissingExtraError("models", "peft") from error
    if not (adapter / "adapter_config.json").is_file():
        raise ModelError(f"{adapter}: no adapter_config.json, so this is no adapter folder; give the folder that training wrote")
    # The library asks the Hub for weights that are not in the folder.
    if not any((adapter / name).is_file() for name in ADAPTER_WEIGHTS):
        raise ModelError(f"{adapter}: no {ADAPTER_WEIGHTS[0]}, so the adapter has no weights; give the whole folder that training wrote")
    with read_by_library(f"{adapter}: the adapter does not fit {model.name_or_path}"):
        whole = PeftModel(model, PeftConfig.from_pretrained(str(adapter)))
        # What does not fit is left out or left as it was drawn, which peft tells only here.
        loaded: Any = set_peft_model_state_dict(whole, load_peft_weights(str(adapter), device="cpu"))
    # `lora_`, `ia3_` and so on; the weights of the model are missing in every adapter.
    own = str(getattr(whole.base_model, "prefix", "lora_"))
    missing = sorted(name for name in loaded.missing_keys if own in name)
    if missing or loaded.unexpected_keys:
        what = f"lacks {_named(missing)}" if missing else f"has {_named(sorted(loaded.unexpected_keys))}, which the model has not"
        raise ModelError(f"{adapter}: the adapter does not fit {model.name_or_path}: it {what}; give the model that it was trained over")
    _warn_of_template(adapter, Path(str(model.name_or_path)))
    return whole


@cache
def _warn_of_template(adapter: Path, folder: Path) -> None:
    """Says, once in a process, that an adapter was saved under another chat template than its model's, by which it is read here."""
    own = _template(adapter)
    if own is not None and own != _template(folder):
        log.warning(
            "%s: saved under another chat template than that of %s, which is used; put its own in that place if it was trained under it", adapter, folder
        )


def _template(folder: Path) -> object:
    """What is saved as the chat template beside a tokenizer: a text, or named ones; None if there is none that can be read."""
    with suppress(OSError, ValueError):
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    with suppress(OSError, ValueError):
        config = json.loads((folder / "tokenizer_config.json").read_bytes())
        return config.get("chat_template") if isinstance(config, dict) else None
    return None


def merged(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """The model with the weights of a LoRA adapter merged in.

    Raises ModelError if the folder is no adapter, one of another model, or one that cannot be merged.
    """
    return cast("PreTrainedModel", _mergeable(model, adapter).merge_and_unload().eval())


def _mergeable(model: PreTrainedModel, adapter: Path) -> PeftModel:
    whole = adapted(model, adapter)
    if at_tied := weights_at_tied_embeddings(whole):
        raise ModelError(
            f"{adapter}: it has {at_tied[0]}, and the embeddings of {model.name_or_path} are tied, so that it cannot be merged; give an adapter without it"
        )
    return whole


def weights_at_tied_embeddings(model: PeftModel) -> list[str]:
    """Adapter weights at one end of tied embeddings: merged, they would change the other end too, which was trained without them."""
    base = cast("PreTrainedModel", model.get_base_model())
    if not base.config.get_text_config().tie_word_embeddings:
        return []
    ends = (base.get_input_embeddings(), base.get_output_embeddings())  # type: ignore[no-untyped-call]
    tied = {name for name, module in model.named_modules() if module in ends}
    return sorted(name for name, _ in model.named_parameters() if "lora_" in name and any(name.startswith(f"{end}.") for end in tied))


def not_finite(model: PreTrainedModel) -> EngineError:
    """What to say of logits that are NaN or infinite: a narrow type overflows, and in a wide one the weights are to blame."""
    narrow = str(model.dtype) == "torch.float16"
    advice = "use dtype float32 or bfloat16" if narrow else "the weights, or those of the adapter, hold NaN or infinity; give others"
    return EngineError(f"{model.name_or_path}: the logits are not finite in {model.dtype}; {advice}")


def _named(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _shape(sizes: Iterable[int]) -> str:
    return " x ".join(map(str, sizes))
