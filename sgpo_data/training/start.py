"""The model that a training starts from, held against what is asked of it; no weight is read."""

from pathlib import Path
from typing import TYPE_CHECKING

from sgpo_data.engines.chat import Chat, load_chat
from sgpo_data.engines.local.weights import load_weights, nothing_copied, weights_at_tied_embeddings
from sgpo_data.errors import RecipeError, first_line
from sgpo_data.training.options import Lora, Train

if TYPE_CHECKING:
    from peft import LoraConfig


def checked_start(folder: Path, train: Train) -> Chat:
    """The chat that the rows are rendered by.

    Raises ModelError if tokenizer, template or weights do not fit, RecipeError if the model has no place for the adapter that is asked for.
    """
    model, config = load_weights(folder, dtype="float32", device="meta"), lora_config(train.lora)
    if config is not None:
        from peft import get_peft_model

        try:
            with nothing_copied():
                adapted = get_peft_model(model, config)
        except ValueError as error:
            raise RecipeError(f"lora.target_modules: {folder} has no place for {train.lora.target_modules}: {first_line(error)}") from error
        if tied := weights_at_tied_embeddings(adapted):
            # Merged, it would change the other end too, which was trained without it.
            raise RecipeError(
                f"lora.target_modules: {train.lora.target_modules} has an adapter at {tied[0]}, and the embeddings of {folder} are tied, so that it "
                "cannot be merged; leave embed_tokens and lm_head out"
            )
    return load_chat(folder, train)


def lora_config(lora: Lora) -> "LoraConfig | None":
    """The adapter as peft has it, None if all weights are trained."""
    from peft import LoraConfig

    if not lora.rank:
        return None
    modules = lora.target_modules.split(",") if "," in lora.target_modules else lora.target_modules
    targets = [module.strip() for module in modules] if isinstance(modules, list) else modules if modules == "all-linear" else [modules]
    return LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM")
