"""Claims about how a training lies in memory: in which types, with what of it computed again, and what of that its weights and its name know."""

import json
from pathlib import Path

import pytest
import torch
from made import made_dataset
from safetensors.torch import load_file
from tiny_model import question, tiny_config, tiny_tokenizer, write_model
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers import Trainer as LibraryTrainer

from sgpo_data.errors import MissingExtraError
from sgpo_data.execution import Execution
from sgpo_data.references.model import Model, content_digest, find_model, model_manifest
from sgpo_data.rows import Message
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.input import input_of
from sgpo_data.training.checkpoint import caps_attention
from sgpo_data.training.curves import curves
from sgpo_data.training.float32_copy import step_in_float32
from sgpo_data.training.job import TrainJob, do_train
from sgpo_data.training.options import Lora, Train
from sgpo_data.training.planning import planned_training
from sgpo_data.training.settings import trl_faults

DPO = Train(batch_rows=4, epochs=2, learning_rate=1e-3)
SFT = Train(objective="sft", batch_rows=4, epochs=2, learning_rate=1e-3)


def spoken(text: str) -> list[Message]:
    return [Message(role="assistant", content=text)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layout")


@pytest.fixture(scope="module")
def how(place: Path) -> Execution:
    return Execution(root=place / "runs", progress="none", device="cpu")


@pytest.fixture(scope="module")
def start(place: Path) -> Model:
    """A checkpoint in bfloat16."""
    folder = write_model(place / "start", config=tiny_config(len(tiny_tokenizer())))
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    return find_model(str(folder))


@pytest.fixture(scope="module")
def pairs(place: Path, start: Model) -> Dataset:
    rows = [
        {
            "prompt": question(f"say {number}"),
            "chosen": spoken(f"yes {number}"),
            "rejected": spoken(f"no {number * 7}"),
            "prompt_id": f"{number:032x}",
            "sample": 0,
            "source": "test",
            "policy": start.record.identity,
        }
        for number in range(8)
    ]
    return made_dataset(place / "pairs", "pairs", rows)


@pytest.fixture(scope="module")
def full(place: Path, start: Model, pairs: Dataset, how: Execution) -> Model:
    return do_train(job(DPO, start, pairs), place / "full", how)


def job(train: Train, start: Model, data: Dataset) -> TrainJob:
    return planned_training(train, (input_of(data, str(data.folder)),), start)


def margins(model: Model) -> tuple[float, ...]:
    return curves(model.folder)["rewards/margins"].values


def loaded_types(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Filled when a training begins: types of the weights that train, of those that do not, and of the states after the last step."""
    found: dict[str, set[str]] = {}
    whole = LibraryTrainer.train

    def train(self: LibraryTrainer, *given: object, **named: object) -> object:
        assert isinstance(self.model, torch.nn.Module)
        for kind, trained in (("trained", True), ("fixed", False)):
            found[kind] = {str(weight.dtype) for weight in self.model.parameters() if weight.requires_grad is trained}
        result = whole(self, *given, **named)  # type: ignore[arg-type]
        assert self.optimizer is not None
        states = [value for state in self.optimizer.state.values() for name, value in state.items() if name != "step"]
        found["states"] = {str(value.dtype) for value in states}
        return result

    monkeypatch.setattr(LibraryTrainer, "train", train)
    return found


@pytest.mark.parametrize(
    ("change", "types"),
    [
        ({}, {"trained": {"torch.bfloat16"}, "fixed": set(), "states": {"torch.float32"}}),
        ({"optimizer_dtype": "weights"}, {"trained": {"torch.bfloat16"}, "fixed": set(), "states": {"torch.bfloat16"}}),
        ({"dtype": "float32"}, {"trained": {"torch.float32"}, "fixed": set(), "states": {"torch.float32"}}),
        ({"lora": Lora(rank=2)}, {"trained": {"torch.float32"}, "fixed": {"torch.bfloat16"}, "states": {"torch.float32"}}),
    ],
)
def test_weights_load_in_the_type_of_the_checkpoint_or_as_told(
    change: dict[str, object],
    types: dict[str, set[str]],
    place: Path,
    start: Model,
    pairs: Dataset,
    how: Execution,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = loaded_types(monkeypatch)
    has_instructions = "optimizer_dtype" in change
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": has_instructions})
    with caplog.at_level("INFO"):
        model = do_train(job(DPO.model_copy(update=change), start, pairs), place / f"types-{len(list(place.iterdir()))}", how)
    assert found == types
    assert ("computes several times slower" in caplog.text) == (change.get("dtype") != "float32" and not has_instructions)
    assert {str(weight.dtype) for weight in load_file(model.folder / "model.safetensors").values()} == {"torch.bfloat16"}
    assert margins(model)[0] == pytest.approx(0.0, abs=1e-6)
    assert margins(model)[-1] > margins(model)[0]


def test_steps_that_rounding_to_16_bits_would_lose_are_made() -> None:
    moved = {}
    for way in ("weights", "float32"):
        weight = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
        optimizer: torch.optim.Optimizer = torch.optim.AdamW([weight], lr=1e-4, weight_decay=0)
        if way == "float32":
            optimizer = step_in_float32(optimizer)
        for _ in range(100):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
        moved[way] = 1 - weight[0].item()
    assert moved == {"weights": 0.0, "float32": pytest.approx(0.01, rel=0.3)}


def test_an_optimizer_that_is_taken_up_steps_on_from_its_float32_weights() -> None:
    def stepped(times: int, optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter) -> None:
        for _ in range(times):
            weight.grad = torch.full_like(weight, 0.5)
            optimizer.step()

    whole, first = (torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16)) for _ in range(2))
    through, before = (step_in_float32(torch.optim.AdamW([weight], lr=1e-3)) for weight in (whole, first))
    stepped(10, through, whole)
    stepped(5, before, first)
    second = torch.nn.Parameter(first.detach().clone())
    after = step_in_float32(torch.optim.AdamW([second], lr=1e-3))
    after.load_state_dict(before.state_dict())
    stepped(5, after, second)
    assert torch.equal(after.param_groups[0]["params"][0], through.param_groups[0]["params"][0])


@pytest.mark.parametrize("change", [{"gradient_checkpointing": True}, {"attn_implementation": "eager"}, {"precompute_ref_log_probs": True}])
def test_how_a_training_lies_in_memory_is_not_in_its_name_and_changes_its_weights_as_rounding_does(
    change: dict[str, object], place: Path, start: Model, pairs: Dataset, full: Model, how: Execution
) -> None:
    plan = job(DPO.model_copy(update=change), start, pairs)
    assert plan.identity.fingerprint == job(DPO, start, pairs).identity.fingerprint
    model = do_train(plan, place / next(iter(change)), how)
    assert margins(model) == pytest.approx(margins(full), rel=0.05, abs=0.02)
    manifest = model_manifest(model.folder)
    assert manifest is not None
    assert isinstance(manifest.config, dict)
    (key, value) = next(iter(change.items()))
    assert value in (manifest.config.get(key), (manifest.config["model_init_kwargs"] or {}).get(key))  # type: ignore[union-attr]


def test_types_are_in_the_name_of_a_training(start: Model, pairs: Dataset) -> None:
    named = {
        way: job(DPO.model_copy(update=change), start, pairs).identity.fingerprint
        for way, change in {"auto": {}, "bfloat16": {"dtype": "bfloat16"}, "float32": {"dtype": "float32"}, "weights": {"optimizer_dtype": "weights"}}.items()
    }
    assert named["auto"] == named["bfloat16"]
    assert len(set(named.values())) == 3


def test_no_second_copy_is_held_of_a_reference_that_answers_before_training(
    place: Path, start: Model, pairs: Dataset, how: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sgpo_data.training import trl

    loaded: list[Path] = []
    whole = trl._loaded

    def load(folder: Path, dtype: str = "float32") -> PreTrainedModel:
        loaded.append(folder)
        return whole(folder, dtype)

    monkeypatch.setattr(trl, "_loaded", load)
    do_train(job(DPO.model_copy(update={"epochs": 1, "precompute_ref_log_probs": True}), start, pairs), place / "unheld", how)
    assert start.folder not in loaded


def test_a_killed_training_in_bfloat16_goes_on_to_the_same_bytes(
    place: Path, start: Model, pairs: Dataset, full: Model, how: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, saved = LibraryTrainer._save_checkpoint, []

    def cut(self: LibraryTrainer, *given: object, **named: object) -> None:
        whole(self, *given, **named)  # type: ignore[arg-type]
        saved.append(self.state.global_step)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(LibraryTrainer, "_save_checkpoint", cut)
    with pytest.raises(KeyboardInterrupt):
        do_train(job(DPO, start, pairs), place / "cut", how)
    monkeypatch.setattr(LibraryTrainer, "_save_checkpoint", whole)
    assert content_digest(do_train(job(DPO, start, pairs), place / "cut", how).folder) == content_digest(full.folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("gradient_checkpointing", True, "trl.gradient_checkpointing: has a key of its own, beside trl (got True)"),
        ("fsdp", "full_shard", "trl.fsdp: is no matter of the recipe; use --sharding (got full_shard)"),
        ("model_init_kwargs", {"dtype": "bfloat16"}, "trl.model_init_kwargs: cannot set dtype or attn_implementation, which have keys of their own"),
    ],
)
def test_a_key_of_trl_that_has_one_here_says_which(key: str, value: object, message: str) -> None:
    (fault,) = trl_faults(Train.model_validate({"trl": {key: value}}))
    assert str(fault).startswith(message)


def test_kernels_that_are_not_installed_are_asked_for_before_anything_is_trained(start: Model, pairs: Dataset) -> None:
    with pytest.raises(MissingExtraError, match="liger_kernel is not installed; run: pip install 'sgpo-data"):
        job(DPO.model_copy(update={"use_liger_kernel": True}), start, pairs)


def test_a_model_with_a_cap_on_its_attention_trains_with_the_kernel_that_has_it(tmp_path: Path) -> None:
    for cap, told in ((None, False), (50.0, True)):
        (tmp_path / "config.json").write_text(json.dumps({"attn_logit_softcapping": cap}))
        assert caps_attention(tmp_path) is told
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"attn_logit_softcapping": 50.0}}))
    assert caps_attention(tmp_path)
