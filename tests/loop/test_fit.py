"""Claims about models that do not fit a recipe: a dry run refuses what the run refuses, in the same words, and the run does so before its first step."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from chat_templates import TEMPLATES, tokenizer_of
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from sgpo_data.cli.run import add_run
from tiny_model import CHATML, tiny_config, tiny_tokenizer, write_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from typer import Typer
from typer.testing import CliRunner

from sgpo_data.errors import EngineError, ModelError, RecipeError

GENERATED = 'model = "model"\n{top}\n[[phases]]\nname = "policy"\n{phase}\n[phases.source]\npath = "prompts.jsonl"\n[phases.seed]\nsampling.max_tokens = 4\n'
SCORED = "[phases.improve]\nsampling.max_tokens = 4\n[phases.score-ppl]\n"
TRAINED = GENERATED + SCORED + '[phases.filter]\n[phases.pair]\nkind = "examples"\n[phases.train]\nobjective = "sft"\n'


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("fit") / "model")


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "model")
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "the question", "response": "the answer"}\n', encoding="utf-8")
    return tmp_path


def lack_a_weight(place: Path) -> str:
    weights = load_file(place / "model/model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, place / "model/model.safetensors", metadata={"format": "pt"})
    return GENERATED


def have_few_embeddings(place: Path) -> str:
    write_model(place / "model", config=tiny_config(len(tiny_tokenizer()) - 3))
    return GENERATED


def have_a_template_that_loses_the_question(place: Path) -> str:
    (place / "model/chat_template.jinja").write_text("{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}{% endif %}{% endfor %}")
    return GENERATED


def have_no_such_template(place: Path) -> str:
    return GENERATED + 'template_name = "tools"\n'


def lack_weights_of_the_scorer(place: Path) -> str:
    shutil.copytree(place / "model", place / "scorer")
    (place / "scorer/model.safetensors").write_bytes((place / "model/model.safetensors").read_bytes()[:-400])
    return GENERATED.replace("{phase}", 'scorer = "scorer"') + SCORED


def have_a_scorer_as_reward_model(place: Path) -> str:
    return GENERATED.replace("{phase}", 'reward_model = "model"') + SCORED


def have_a_reward_model_of_two_labels(place: Path) -> str:
    config = tiny_config(len(tiny_tokenizer()))
    config.num_labels = 2
    AutoModelForSequenceClassification.from_config(config).save_pretrained(place / "reward")  # type: ignore[no-untyped-call]
    tiny_tokenizer().save_pretrained(place / "reward")
    return GENERATED.replace("{phase}", 'reward_model = "reward"') + SCORED


def adapted(place: Path, target: str) -> str:
    model = AutoModelForCausalLM.from_pretrained(place / "model")
    get_peft_model(model, LoraConfig(r=2, target_modules=[target], task_type="CAUSAL_LM")).save_pretrained(str(place / "adapter"))
    return GENERATED.replace("{top}", 'adapter = "adapter"')


def have_an_adapter_of_another_model(place: Path) -> str:
    recipe = adapted(place, "q_proj")
    config = json.loads((place / "adapter/adapter_config.json").read_text())
    (place / "adapter/adapter_config.json").write_text(json.dumps({**config, "r": 4}))
    return recipe


def have_an_adapter_at_tied_embeddings(place: Path) -> str:
    config = tiny_config(len(tiny_tokenizer()))
    config.tie_word_embeddings = True
    write_model(place / "model", config=config)
    return adapted(place, "embed_tokens")


def score_with_an_adapter_in_vllm(place: Path) -> str:
    return adapted(place, "q_proj") + SCORED + 'engine = "vllm"\n'


def have_no_place_for_the_adapter_of_a_training(place: Path) -> str:
    return TRAINED + 'lora.rank = 2\nlora.target_modules = "c_attn"\n'


def have_no_end_of_turn_in_training(place: Path) -> str:
    return TRAINED + 'template_name = "tools"\n'


def have_given_pairs_and_say_nothing_of_it(place: Path) -> str:
    (place / "prompts.jsonl").write_text('{"prompt": "q", "chosen": "the answer", "rejected": "the list"}\n', encoding="utf-8")
    return GENERATED.partition("[phases.seed]")[0] + "[phases.pair]\n[phases.train]\n"


def train_on_pairs_of_the_round_before_and_say_nothing_of_it(place: Path) -> str:
    phase = "rounds = 2\ndata_rounds = 2\nprompts_per_round = 1"
    return GENERATED.replace("{phase}", phase) + "[phases.pair]\n[phases.train]\n"


REFUSED: dict[Callable[[Path], str], tuple[type[Exception], str]] = {
    lack_a_weight: (ModelError, "phases.1.seed: {place}/model: the weights lack model.norm.weight"),
    have_few_embeddings: (ModelError, "phases.1.seed: {place}/model: the tokenizer has token"),
    have_a_template_that_loses_the_question: (ModelError, "phases.1.seed: {place}/model: the chat template loses the text of the question"),
    have_no_such_template: (ModelError, "phases.1.seed: {place}/model: "),
    lack_weights_of_the_scorer: (ModelError, "phases.1.score-ppl: {place}/scorer: the model cannot be read"),
    have_a_scorer_as_reward_model: (ModelError, "phases.1.score-ppl: {place}/model: has no score.weight, so this is no reward model"),
    have_a_reward_model_of_two_labels: (ModelError, "phases.1.score-ppl: {place}/reward: has 2 labels, and a reward model has one"),
    have_an_adapter_of_another_model: (ModelError, "phases.1.seed: {place}/adapter: the adapter does not fit {place}/model"),
    have_an_adapter_at_tied_embeddings: (ModelError, "phases.1.seed: {place}/adapter: it has "),
    score_with_an_adapter_in_vllm: (RecipeError, "phases.1.score-ppl: engine: vllm cannot score with an adapter; use transformers"),
    have_no_place_for_the_adapter_of_a_training: (RecipeError, "phases.1.train: lora.target_modules: {place}/model has no place for c_attn"),
    have_given_pairs_and_say_nothing_of_it: (RecipeError, "phases.1.train: train: the pairs will be by given, not by the model that training starts from, "),
    train_on_pairs_of_the_round_before_and_say_nothing_of_it: (RecipeError, "phases.1.train: train: the pairs will be by folder:"),
    have_no_end_of_turn_in_training: (ModelError, "phases.1.train: {place}/model: "),
}


def run(place: Path, recipe: str, *flags: str) -> Exception | None:
    (place / "x.toml").write_text(recipe.replace("{top}", "").replace("{phase}", ""), encoding="utf-8")
    app = Typer()
    add_run(app)
    done = CliRunner().invoke(app, [str(place / "x.toml"), "--root", str(place / "runs"), "--progress", "none", "--device", "cpu", *flags])
    found = done.exception
    assert found is None or isinstance(found, Exception)
    return found


@pytest.mark.parametrize("fault", REFUSED)
def test_a_dry_run_refuses_the_models_that_the_run_refuses_before_its_first_step(fault: Callable[[Path], str], place: Path) -> None:
    kind, words = REFUSED[fault]
    recipe = fault(place)
    planned, made = run(place, recipe, "--dry-run"), run(place, recipe)
    assert type(planned) is kind, planned
    assert str(planned).startswith(f"{place}/x.toml: {words.format(place=place)}")
    assert "\n" not in str(planned)
    assert str(made) == str(planned)
    assert not list(place.rglob("*.parquet"))


def test_a_device_that_is_not_there_is_refused(place: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    refused = run(place, GENERATED, "--dry-run", "--device", "cuda")
    assert isinstance(refused, EngineError)
    assert str(refused).startswith(f"{place}/x.toml: phases.1.seed: device cuda: this machine has no GPU")


def test_a_dry_run_says_what_a_template_does_to_turns(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    today = CHATML.replace("{{- bos_token }}", "{{- bos_token }}{{- strftime_now('%d %b %Y') }}")
    (place / "model/chat_template.jinja").write_text(today.replace("if message.role == 'refused'", "if message.role == 'system'"))
    assert run(place, GENERATED, "--dry-run") is None
    assert "refuses a system turn: no such role" in caplog.text
    assert "writes today's date" in caplog.text


SAID: dict[str, tuple[str, ...]] = {
    "llama2": (),
    "llama3": ("writes today's date",),
    "mistral": ("refuses a system turn: Only user and assistant roles are supported!",),
    "gemma": ("refuses a system turn: System role not supported",),
    "qwen2.5": (),
    "qwen3": ("lacks '<think>\\n\\n</think>\\n\\n'", "leaves the reasoning before </think> out of answers"),
    "r1": ("ends with '<think>\\n', which it leaves out of answers", "leaves the reasoning before </think> out of answers"),
    "phi3": (),
    "chatml": (),
    "vicuna": (),
}
"""What is to be said of a template of each family before a run; all of them can be used."""


@pytest.mark.parametrize("family", TEMPLATES)
def test_a_template_of_each_family_is_taken_and_what_it_does_is_said_before_the_run(family: str, place: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = tokenizer_of("byte", TEMPLATES[family])
    write_model(place / "model", config=tiny_config(len(tokenizer)))
    tokenizer.save_pretrained(place / "model")
    assert run(place, TRAINED, "--dry-run") is None
    said = [message for message in caplog.messages if "chat template" in message]
    assert [[words for words in SAID[family] if words in message] for message in said] == [[words] for words in SAID[family]], said


def test_a_model_that_the_run_trains_is_held_to_the_one_that_it_starts_from(place: Path) -> None:
    second = TRAINED.replace('model = "model"\n', "").replace('name = "policy"', 'name = "then"').replace("{top}\n", "") + 'template_name = "tools"\n'
    refused = run(place, TRAINED + second, "--dry-run")
    assert isinstance(refused, ModelError)
    assert str(refused).startswith(f"{place}/x.toml: phases.2.train: {place}/model: ")
    assert run(place, TRAINED + second.replace('template_name = "tools"\n', ""), "--dry-run") is None


def test_models_of_steps_that_are_made_are_not_looked_at(place: Path) -> None:
    assert run(place, GENERATED) is None
    assert run(place, GENERATED, "--device", "cuda") is None
