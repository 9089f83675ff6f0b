"""Claims about models that are odd but whole: they train, and what is written is what was trained, or they are refused before."""

import json
from pathlib import Path

import pytest
import torch
from made import made_dataset
from peft import LoraConfig, PeftModel, get_peft_model
from tiny_model import question, tiny_config, tiny_tokenizer, write_model
from transformers import AutoModelForCausalLM

from sgpo_data.engines.local.weights import load_weights, merged
from sgpo_data.errors import ModelError, RecipeError
from sgpo_data.execution import Execution
from sgpo_data.references.model import Model, find_model
from sgpo_data.rows import Message
from sgpo_data.store.input import input_of
from sgpo_data.training.job import do_train
from sgpo_data.training.options import Lora, Train
from sgpo_data.training.planning import planned_training

ATTENTION = Lora(rank=4, target_modules="q_proj,v_proj")
SFT = Train(objective="sft", batch_rows=2, epochs=2, learning_rate=1e-2)


def trained(start: Path, train: Train) -> Model:
    texts = ["yes", "no", "the list", "the answer"]
    rows = [
        {
            "prompt": question(f"say {number}"),
            "completion": [Message(role="assistant", content=text)],
            "prompt_id": f"{number:032x}",
            "sample": 0,
            "kind": "reference",
            "source": "test",
        }
        for number, text in enumerate(texts)
    ]
    data = made_dataset(start.parent / "examples", "examples", rows)
    how = Execution(root=start.parent / "runs", progress="none", device="cpu")
    return do_train(planned_training(train, (input_of(data, str(data.folder)),), find_model(str(start)), reference=None), start.parent / "trained", how)


def tied_model(folder: Path) -> Path:
    config = tiny_config(len(tiny_tokenizer()))
    config.tie_word_embeddings = True
    return write_model(folder, config=config)


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=torch.tensor([[1, 2, 40, 50, 60, 3, 70]])).logits
    return found.double()


def moved(one: Path, other: Path) -> float:
    return (logits(load_weights(one, dtype="float32")) - logits(load_weights(other, dtype="float32"))).abs().max().item()


@pytest.mark.parametrize("lacking", [["pad_token"], ["eos_token"], ["eos_token", "pad_token"]])
def test_a_model_whose_tokenizer_has_no_end_of_sequence_or_padding_trains(lacking: list[str], tmp_path: Path) -> None:
    start = write_model(tmp_path / "start")
    settings = json.loads((start / "tokenizer_config.json").read_text())
    (start / "tokenizer_config.json").write_text(json.dumps({key: value for key, value in settings.items() if key not in lacking}))
    assert all(getattr(find_tokenizer(start), name) is None for name in lacking)
    model = trained(start, SFT)
    assert moved(start, model.folder) > 1e-3
    # What was missing is for TRL alone.
    assert (model.folder / "tokenizer_config.json").read_bytes() == (start / "tokenizer_config.json").read_bytes()


def find_tokenizer(folder: Path) -> object:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("lora", [Lora(), ATTENTION])
def test_generation_settings_that_transformers_will_not_save_are_kept_byte_for_byte(lora: Lora, tmp_path: Path) -> None:
    start = write_model(tmp_path / "start")
    settings = json.loads((start / "generation_config.json").read_text())
    (start / "generation_config.json").write_text(json.dumps({**settings, "do_sample": False, "temperature": 0.6, "top_p": 0.9}))
    with pytest.raises(ValueError, match="temperature"):
        AutoModelForCausalLM.from_pretrained(start).save_pretrained(tmp_path / "refused")
    model = trained(start, SFT.model_copy(update={"lora": lora}))
    assert (model.folder / "generation_config.json").read_bytes() == (start / "generation_config.json").read_bytes()
    assert moved(start, model.folder) > 1e-3


def test_an_adapter_of_attention_over_tied_embeddings_is_merged_into_the_model_that_was_trained(tmp_path: Path) -> None:
    start = tied_model(tmp_path / "start")
    model = trained(start, SFT.model_copy(update={"lora": ATTENTION}))
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(start), str(model.folder / "adapter")).eval()
    written = logits(load_weights(model.folder, dtype="float32"))
    assert (written - logits(adapted)).abs().max().item() < 1e-4
    assert (written - logits(load_weights(start, dtype="float32"))).abs().max().item() > 1e-2


@pytest.mark.parametrize("modules", ["embed_tokens", "q_proj,embed_tokens"])
def test_an_adapter_at_tied_embeddings_is_refused_before_it_is_trained(modules: str, tmp_path: Path) -> None:
    start = tied_model(tmp_path / "start")
    with pytest.raises(RecipeError, match=r"lora\.target_modules: .* has an adapter at .*embed_tokens.*, and the embeddings of .* are tied"):
        trained(start, SFT.model_copy(update={"lora": Lora(rank=4, target_modules=modules)}))
    assert not (tmp_path / "trained" / "manifest.json").exists()


def test_an_adapter_at_tied_embeddings_that_was_trained_elsewhere_is_not_merged(tmp_path: Path) -> None:
    start, adapter = tied_model(tmp_path / "start"), tmp_path / "adapter"
    get_peft_model(AutoModelForCausalLM.from_pretrained(start), LoraConfig(r=2, target_modules=["embed_tokens"], task_type="CAUSAL_LM")).save_pretrained(
        str(adapter)
    )
    with pytest.raises(ModelError, match=r"adapter: it has .*embed_tokens.*, and the embeddings of .*start are tied, so that it cannot be merged"):
        merged(load_weights(start, dtype="float32"), adapter)
