"""Claims about models that are not whole: refused in one line that names what does not fit, in every stage that loads them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made import made_dataset
from peft import IA3Config, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_model import CONTEXT, question, tiny_config, tiny_tokenizer, write_model
from transformers import AutoModelForCausalLM

from sgpo_data.engines.loading import WeightsLoading, weights_loading
from sgpo_data.engines.local.stored import check_stored
from sgpo_data.engines.local.weights import load_weights
from sgpo_data.engines.opening import check_openable, open_engine
from sgpo_data.errors import ModelError
from sgpo_data.execution import Execution
from sgpo_data.references.model import find_model
from sgpo_data.rows import Message
from sgpo_data.store.input import input_of
from sgpo_data.training.job import do_train
from sgpo_data.training.options import Train
from sgpo_data.training.planning import planned_training

LOADING = WeightsLoading(engine="transformers", dtype="float32", context_tokens=CONTEXT)
QUERY = "model.layers.0.self_attn.q_proj.weight"
LACK = f"the weights lack {QUERY}; give the whole folder, or the config that goes with the weights"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("weights") / "model")


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Path:
    model = AutoModelForCausalLM.from_pretrained(folder)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")).save_pretrained(str(folder.parent / "adapter"))
    return folder.parent / "adapter"


def opened(model: Path, adapter: Path | None = None, engine: str = "transformers") -> None:
    open_engine(replace(LOADING, engine=engine), model, adapter=adapter, how=Execution(device="cpu", window=4)).close()


def opened_by_vllm(model: Path, adapter: Path | None = None) -> None:
    pytest.importorskip("vllm")
    opened(model, adapter, engine="vllm")


def trained(model: Path) -> None:
    row = {"prompt": question("q"), "completion": [Message(role="assistant", content="a")], "prompt_id": "0" * 32, "sample": 0, "kind": "reference"}
    data = made_dataset(model.parent / "examples", "examples", [{**row, "source": "test"}])
    train = Train(objective="sft", learning_rate=1e-3)
    how = Execution(root=model.parent / "runs", progress="none", device="cpu")
    do_train(planned_training(train, (input_of(data, str(data.folder)),), find_model(str(model)), reference=None), model.parent / "trained", how)


def edited(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def without_a_weight(model: Path) -> str:
    edited(model / "model.safetensors", lambda weights: weights.pop(QUERY))
    return f"{model}: {LACK}"


def of_another_width(model: Path) -> str:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "intermediate_size": 96}))
    name = "model.layers.0.mlp.down_proj.weight"
    return f"{model}: {name} is 64 x 128 in the weights and 64 x 96 in config.json, and 5 more differ; give the config that goes with them"


def with_few_embeddings(model: Path) -> str:
    write_model(model, config=tiny_config(len(tiny_tokenizer()) - 3))
    rows, last = len(tiny_tokenizer()) - 3, len(tiny_tokenizer()) - 1
    token = tiny_tokenizer().convert_ids_to_tokens(last)
    return f"{model}: the tokenizer has token {last} ({token}), and the model {rows} embeddings; resize them, or give the tokenizer that goes with it"


def without_a_shard(model: Path) -> str:
    AutoModelForCausalLM.from_pretrained(model).save_pretrained(model, max_shard_size="100KB")
    (model / "model.safetensors").unlink(missing_ok=True)
    sorted(model.glob("model-*.safetensors"))[1].unlink()
    return f"{model}: the model cannot be read: "


def quantized_by_name(model: Path) -> str:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "fp8"}}))
    says = "quantization_config of config.json says fp8, and the weights are plain F32"
    return f"{model}: {says}; take it out of config.json, or give the weights that go with it"


def of_zeros(model: Path) -> str:
    edited(model / "model.safetensors", lambda weights: [weight.zero_() for weight in weights.values() if weight.ndim > 1])
    return f"{model}: the weights are all zero; copy or download it again, or give another model"


def of_no_numbers(model: Path) -> str:
    edited(model / "model.safetensors", lambda weights: [weight.fill_(torch.nan) for weight in weights.values()])
    return f"{model}: the weights are all zero, NaN or infinite; copy or download it again, or give another model"


@pytest.mark.parametrize("load", [opened, opened_by_vllm, trained])
@pytest.mark.parametrize("damage", [without_a_weight, of_another_width, with_few_embeddings, without_a_shard, quantized_by_name, of_zeros, of_no_numbers])
def test_a_model_that_is_not_whole_is_refused_wherever_it_is_loaded(
    damage: Callable[[Path], str], load: Callable[[Path], None], folder: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(folder, tmp_path / "model"))
    words = damage(model)
    with pytest.raises(ModelError) as caught:
        load(model)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "trained" / "manifest.json").exists()


def with_zero_layers(weights: dict[str, torch.Tensor]) -> None:
    for name, weight in weights.items():
        if "embed_tokens" not in name:
            weight.zero_()
    next(weight for name, weight in weights.items() if "embed_tokens" in name)[0] = 0


def in_float8(weights: dict[str, torch.Tensor]) -> None:
    weights |= {name: weight.to(torch.float8_e4m3fn) for name, weight in weights.items() if "proj" in name}


@pytest.mark.parametrize(("change", "method"), [(with_zero_layers, None), (in_float8, "fp8"), (dict, "torchao")])
def test_weights_that_may_be_meant_so_are_taken(change: Callable[[dict[str, torch.Tensor]], object], method: str | None, folder: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(folder, tmp_path / "model"))
    edited(model / "model.safetensors", change)
    if method:
        with_config(quantization_config={"quant_method": method})(model)
    check_stored(model)


def write_json(model: Path, name: str, content: object) -> None:
    (model / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def with_config(**changed: object) -> Callable[[Path], None]:
    return lambda model: write_json(model, "config.json", {**json.loads((model / "config.json").read_bytes()), **changed})


def with_file(name: str, content: object) -> Callable[[Path], None]:
    return lambda model: write_json(model, name, content)


def pickled(model: Path) -> None:
    (model / "model.safetensors").unlink()
    write_json(model, "pytorch_model.bin", "version https://git-lfs.github.com/spec/v1")


UNREADABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "heads": (with_config(num_attention_heads=3), "the model cannot be read: .*The hidden size .64. is not a multiple of the number of attention heads"),
    "a text": (with_config(hidden_size="64"), "the model cannot be read: .*expected int, got str"),
    "quantized": (with_config(quantization_config={"quant_method": "compressed-tensors"}), "the model cannot be read: "),
    "a pointer": (pickled, "the model cannot be read: Weights only load failed"),
    "a torn generation config": (with_file("generation_config.json", "{"), "generation_config.json: cannot be read: "),
    "a list of settings": (with_file("generation_config.json", [1]), r"generation_config.json: is no object \(got \[1\]\)"),
    "an end that is no id": (with_file("generation_config.json", {"eos_token_id": "x"}), r'eos_token_id is no token number \(got "x"\)'),
    "a tokenizer of a list": (with_file("tokenizer_config.json", []), "the tokenizer cannot be read: "),
    "a template that adds": (with_file("chat_template.jinja", "{{ 1 + messages[0].content }}"), "the chat template refuses a question and an answer: unsupp"),
    "a template that divides": (with_file("chat_template.jinja", "{{ 1 / 0 }}"), "the chat template refuses a question and an answer: division by zero"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_a_library_cannot_read_is_one_line_and_told_without_loading(case: str, folder: Path, tmp_path: Path) -> None:
    damage, words = UNREADABLE[case]
    model = Path(shutil.copytree(folder, tmp_path / "model"))
    damage(model)
    for load in (opened, lambda model: check_openable(LOADING, model, adapter=None, how=Execution(device="cpu"))):
        with pytest.raises(ModelError, match=words) as caught:
            load(model)
        assert str(caught.value).startswith(str(model))
        assert "\n" not in str(caught.value)


def test_weights_that_the_config_has_no_place_for_are_named(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened(folder)
    assert caplog.messages == []
    model = Path(shutil.copytree(folder, tmp_path / "model"))
    with_config(num_hidden_layers=1)(model)
    opened(model)
    (warning,) = caplog.messages
    assert warning.startswith(f"{model}: the model of config.json has no place for model.layers.1.input_layernorm.weight, ")
    assert warning.endswith(" and 6 more; left out")


def test_names_and_shapes_are_checked_without_the_weights_in_memory(folder: Path) -> None:
    assert {weight.device.type for weight in load_weights(folder, dtype="float32", device="meta").parameters()} == {"meta"}


def lacking(weights: dict[str, torch.Tensor]) -> None:
    weights.pop(min(weights))


def foreign(weights: dict[str, torch.Tensor]) -> None:
    first = min(weights)
    weights[first.replace("layers.0", "layers.7")] = weights[first].clone()


@pytest.mark.parametrize("load", [opened, opened_by_vllm])
@pytest.mark.parametrize(
    ("change", "words"),
    [(lacking, "it lacks base_model.model.model.layers.0"), (foreign, "it has base_model.model.model.layers.7")],
)
def test_an_adapter_of_another_model_is_refused(
    change: Callable[[dict[str, torch.Tensor]], None], words: str, load: Callable[[Path, Path | None], None], folder: Path, adapter: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    edited(other / "adapter_model.safetensors", change)
    with pytest.raises(ModelError) as caught:
        load(folder, other)
    assert str(caught.value).startswith(f"{other}: the adapter does not fit {folder}: {words}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("load", [opened, opened_by_vllm])
def test_an_adapter_without_weights_is_refused_and_not_asked_of_the_hub(
    load: Callable[[Path, Path | None], None], folder: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("the network is asked"))
    other = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    (other / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"adapter: no adapter_model\.safetensors, so the adapter has no weights; give the whole folder"):
        load(folder, other)


def test_an_adapter_that_was_saved_under_another_chat_template_is_said(folder: Path, adapter: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    shutil.copy(folder / "chat_template.jinja", other)
    opened(folder, other)
    assert caplog.messages == []
    other = other.rename(tmp_path / "another")
    write_json(other, "chat_template.jinja", "{{ messages[0].content }}")
    opened(folder, other)
    opened(folder, other)
    (warning,) = caplog.messages
    assert warning.startswith(f"{other}: saved under another chat template than that of {folder}, which is used")


def test_an_adapter_of_another_kind_that_lacks_a_weight_is_refused(folder: Path, tmp_path: Path) -> None:
    kind = IA3Config(target_modules=["k_proj"], feedforward_modules=[], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(folder), kind).save_pretrained(str(tmp_path / "adapter"))
    opened(folder, tmp_path / "adapter")
    edited(tmp_path / "adapter/adapter_model.safetensors", lacking)
    with pytest.raises(ModelError, match=r"the adapter does not fit .*: it lacks base_model\..*ia3_l"):
        opened(folder, tmp_path / "adapter")


def test_an_adapter_in_the_place_of_a_model_is_called_that(adapter: Path) -> None:
    with pytest.raises(ModelError, match="adapter: an adapter, not a whole model; give the model that it was trained over, and this folder as its adapter"):
        weights_loading("transformers", "auto", None, adapter)


@pytest.mark.parametrize("name", ["model-Q4.gguf", "consolidated.00.pth", "__0_0.distcp"])
def test_weights_of_another_kind_are_named(name: str, folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    (other / "model.safetensors").rename(other / name)
    with pytest.raises(ModelError, match=rf"no weights \(model\.safetensors\), only {name}; give a folder"):
        opened(other)


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors", "chat_template.jinja"])
def test_a_file_of_a_model_that_git_lfs_did_not_fetch_is_named(name: str, folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    (other / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:x\nsize 1\n")
    with pytest.raises(ModelError, match=rf"{name}: a Git LFS pointer, not the file itself; run git lfs pull in {other}"):
        find_model(str(other))
