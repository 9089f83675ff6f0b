import json
import random
from itertools import islice
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, BatchEncoding, LlamaForCausalLM
from typer.testing import CliRunner

from sgpo_data.errors import DatasetError
from sgpo_data.rows import Message
from sgpo_data.stages.improve.templates import load_template
from sgpo_data.toy.__main__ import app
from sgpo_data.toy.answers import Answer, repaired, write
from sgpo_data.toy.corpus import OBEDIENCE, chats, pretraining, prompts
from sgpo_data.toy.grade import failed, grade
from sgpo_data.toy.model import base_model, tiny_model
from sgpo_data.toy.tasks import Task, parse
from sgpo_data.toy.words import KINDS

FRUIT = 'Name 4 fruits separated by commas. Include kiwi. Put a star after the last one. Open with "My list".'


def ask(text: str) -> list[Message]:
    return [Message(role="user", content=text)]


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        ("My list: 1 fig, 2 apple, 3 kiwi, 4 plum*. Good luck.", ()),
        ("My list: 1 fig, 2 apple, 3 kiwi, 4 plum. Good luck.", ("mark",)),
        ("My list: 1 fig*, 2 apple, 3 kiwi, 4 plum*. Good luck.", ("mark",)),
        ("My list: 1 fig; 2 apple; 3 kiwi; 4 plum*. Good luck.", ("separator",)),
        ("My list: 1 fig, 2 apple; 3 kiwi, 4 plum*. Good luck.", ("separator",)),
        ("Of course: 1 fig, 2 apple, 3 kiwi, 4 plum*. Good luck.", ("opening",)),
        ("My list: 1 fig, 2 apple, 3 plum*. Good luck.", ("count", "include")),
        ("My list: 1 fig, 2 kiwi, 3 kiwi, 4 plum*. Good luck.", ("count",)),
        ("My list: 1 fig, 2 apple, 3 kiwi, 4 plum, 5 quince*. Good luck.", ("count",)),
        ("My list: 1 fig, 2 apple, 3 kiwi, 4 kiwi, 5 plum*. Good luck.", ("count",)),
        ("My list: 1 fig, 2 apple, 3 kiwi, 3 plum*. Good luck.", ("count",)),
        ("My list: 2 fig, 1 apple, 3 kiwi, 4 plum*. Good luck.", ("count",)),
        ("My list: 1 fig, 2 kiwi, 3 saw, 4 tiger*. Good luck.", ("kind", "count")),
        ("", ("kind", "count", "separator", "include", "mark", "opening")),
        ("مرحبا 🍎", ("kind", "count", "separator", "include", "mark", "opening")),
    ],
)
def test_grade_is_the_share_of_six_constraints_met(answer: str, broken: tuple[str, ...]) -> None:
    assert failed(ask(FRUIT), answer) == broken
    assert grade(ask(FRUIT), answer) == pytest.approx((6 - len(broken)) / 6)


def test_a_closing_is_graded_with_or_without_its_full_stop() -> None:
    request = ask('List 4 tools. Close with "That is all".')
    assert grade(request, "My list: 1 saw, 2 axe, 3 file, 4 drill. That is all.") == 1
    assert grade(request, "My list: 1 saw, 2 axe, 3 file, 4 drill. That is all") == 1
    assert failed(request, "My list: 1 saw, 2 axe, 3 file, 4 drill. Good luck.") == ("closing",)


def test_a_later_turn_overrides_an_earlier_one_and_a_system_turn_holds_throughout() -> None:
    messages = [
        Message(role="system", content="You write lists. Include saw."),
        *ask("List 5 tools separated by dashes."),
        Message(role="assistant", content="Name 6 fruits. 1 axe, 2 saw"),
        *ask("Now the same with 4 items."),
    ]
    assert failed(messages, "My list: 1 axe - 2 file - 3 saw - 4 vice. Good luck.") == ()
    assert failed(messages, "My list: 1 axe - 2 clamp - 3 file - 4 saw - 5 vice. Good luck.") == ("count",)
    assert failed(messages, "My list: 1 axe, 2 file, 3 clamp, 4 vice. Good luck.") == ("separator", "include")


def test_a_prompt_from_elsewhere_is_refused_with_its_text() -> None:
    with pytest.raises(DatasetError, match="capital of France"):
        grade(ask("What is the capital of France?"), "Paris")


def test_every_reference_meets_every_constraint_and_every_prompt_parses_back() -> None:
    for prompt in islice(prompts(5), 3000):
        assert parse(prompt.messages) == prompt.task
        assert failed(prompt.messages, prompt.reference.text) == ()
        assert 3 <= len(prompt.task.constraints) <= 6
        assert len(prompt.reference.text.split()) >= 8


def test_three_thousand_prompts_are_all_but_distinct_and_some_have_several_turns_or_a_system_turn() -> None:
    drawn = [prompt.messages for prompt in islice(prompts(6), 3000)]
    assert len({json.dumps(messages) for messages in drawn}) > 2900
    assert 0.07 < sum(len([m for m in messages if m["role"] == "user"]) > 1 for messages in drawn) / 3000 < 0.13
    assert 0.07 < sum(messages[0]["role"] == "system" for messages in drawn) / 3000 < 0.13


def test_half_good_answers_in_the_corpus_meet_about_half_of_the_constraints() -> None:
    grades = []
    for example in islice(pretraining(7), 3000):
        if len(example.prompt) == 1 and example.prompt[0]["content"].startswith(("Name ", "List ", "Write ")):
            grades.append(grade(example.prompt, example.completion))
    assert len(grades) > 300
    assert 0.45 < sum(grades) / len(grades) < 0.55


def test_a_repaired_draft_meets_every_constraint_and_keeps_its_good_items_where_they_are() -> None:
    rng = random.Random(0)
    for prompt in islice(prompts(7), 1000):
        draft = write(prompt.task, rng, broken=frozenset(rng.sample(prompt.task.constraints, 2)))
        rewrite = repaired(draft, prompt.task, prompt.reference)
        assert failed(prompt.messages, rewrite.text) == ()
        good = {item for item in draft.items[: prompt.task.count] if item in KINDS[prompt.task.kind]}
        kept = {item for item, other in zip(draft.items, rewrite.items, strict=False) if item == other}
        assert len(good - kept) <= 1
        assert set(rewrite.items) <= set(draft.items) | set(prompt.reference.items)


@pytest.mark.parametrize("name", [*OBEDIENCE])
def test_an_answer_told_to_break_a_constraint_breaks_it_and_a_strange_item_is_also_one_too_few(name: str) -> None:
    rng = random.Random(1)
    tasks = [prompt for prompt in islice(prompts(9), 1000) if name in prompt.task.constraints]
    assert len(tasks) > 100
    for prompt in tasks:
        broken = failed(prompt.messages, write(prompt.task, rng, broken=frozenset({name})).text)
        assert broken == (("kind", "count") if name == "kind" else (name,))


def test_repair_changes_what_is_broken_and_nothing_else() -> None:
    task = Task(kind="fruits", count=4, include="fig", mark="last", opening="My list")
    reference = Answer(opening="My list", items=("banana", "fig", "kiwi", "grape"), separator="slashes", star=3, closing="Enjoy it")
    draft = Answer(opening="Of course", items=("kiwi", "apple", "tiger", "kiwi", "plum"), separator="commas", star=None, closing="Good luck")
    assert draft.text == "Of course: 1 kiwi, 2 apple, 3 tiger, 4 kiwi, 5 plum. Good luck."
    assert repaired(draft, task, reference).text == "My list: 1 kiwi, 2 fig, 3 banana, 4 grape*. Good luck."
    assert repaired(reference, task, draft) == reference


def test_the_answer_that_ends_a_chat_is_a_good_one() -> None:
    for messages in islice(chats(8), 200):
        assert [message["role"] for message in messages][-2:] == ["user", "assistant"]
        assert len(messages) >= 4
        assert failed(messages[:-1], messages[-1]["content"]) == ()


@pytest.mark.parametrize("command", ["prompts", "chats"])
def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(command: str, tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert CliRunner().invoke(app, [command, "-n", "20", "--seed", seed, "-o", str(tmp_path / name)]).exit_code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()
    assert len((tmp_path / "a").read_text().splitlines()) == 20


def test_graded_references_are_all_ones(tmp_path: Path) -> None:
    CliRunner().invoke(app, ["prompts", "-n", "30", "-o", str(tmp_path / "prompts.jsonl")])
    result = CliRunner().invoke(app, ["grade", str(tmp_path / "prompts.jsonl")])
    assert [json.loads(line) for line in result.stdout.splitlines()] == [{"grade": 1.0, "failed": []}] * 30


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("toy") / "base")


def turns(messages: list[Message]) -> list[dict[str, str]]:
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def answers(folder: Path, conversations: list[list[Message]]) -> list[str]:
    """One sampled answer each, from plain transformers: the oracle knows nothing of our engines."""
    torch.manual_seed(0)
    model = LlamaForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    prompts = [turns(messages) for messages in conversations]
    batch = tokenizer.apply_chat_template(prompts, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True)
    assert isinstance(batch, BatchEncoding)
    with torch.inference_mode():
        generated = model.generate(**batch, max_new_tokens=64, top_k=0)  # type: ignore[misc]
    return tokenizer.batch_decode(generated[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def test_the_base_answers_half_well_and_rewrites_clearly_better_with_a_reference_in_sight(base: Path) -> None:
    held_out = list(islice(prompts("held out"), 60))
    refine = load_template("refine")
    drafts = answers(base, [prompt.messages for prompt in held_out])
    rewrites = answers(
        base,
        [refine.render(prompt.messages, response=draft, reference=prompt.reference.text) for prompt, draft in zip(held_out, drafts, strict=True)],
    )
    draft_grade = sum(grade(prompt.messages, draft) for prompt, draft in zip(held_out, drafts, strict=True)) / 60
    rewrite_grade = sum(grade(prompt.messages, rewrite) for prompt, rewrite in zip(held_out, rewrites, strict=True)) / 60
    assert 0.4 < draft_grade < 0.6
    assert rewrite_grade > draft_grade + 0.28
    assert sum(prompt.reference.text == rewrite for prompt, rewrite in zip(held_out, rewrites, strict=True)) <= 3


def test_the_base_model_folder_has_the_same_bytes_every_time(base: Path, tmp_path: Path) -> None:
    again = base_model(tmp_path / "again")
    assert {path.name: path.read_bytes() for path in base.iterdir()} == {path.name: path.read_bytes() for path in again.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= {path.name for path in base.iterdir()}


def test_a_tiny_model_repeats_by_seed_and_shares_the_tokenizer(base: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        tiny_model(tmp_path / name, seed=seed)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]
    assert (tmp_path / "a" / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("text", ["1 apple, 2 fig*", "🍎🧑‍🚀 ok", "مرحبا بالعالم", "naïve — 漢字\n\ttab  two"])
def test_any_text_comes_back_from_its_tokens(base: Path, text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_conversation_is_chatml_and_the_mask_covers_the_answer_with_its_end(base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    messages = turns([Message(role="system", content="s"), *ask("q"), Message(role="assistant", content="a")])
    assert tokenizer.apply_chat_template(messages, tokenize=False) == (
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"
    )
    encoded = tokenizer.apply_chat_template(messages, return_assistant_tokens_mask=True, return_dict=True)
    assert isinstance(encoded, BatchEncoding)
    masked = [token for token, inside in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if inside]
    assert tokenizer.decode(masked) == "a<|im_end|>"
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.bos_token is None


def test_both_templates_cost_few_tokens(base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    for name in ("refine", "improve"):
        assert len(tokenizer(load_template(name).text.partition("\n")[0])["input_ids"]) == 3


@pytest.mark.parametrize("command", ["model", "smollm2", "train"])
def test_a_command_that_needs_the_models_extra_says_so_in_one_line(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgpo_data.engines.loading.find_spec", lambda name: None)
    result = CliRunner().invoke(app, [command, str(tmp_path / "new")])
    assert (result.exit_code, result.output) == (1, "torch is not installed; run: pip install 'sgpo-data[models]'\n")
