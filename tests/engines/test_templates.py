"""Claims about chat templates of well-known families, under byte-level and sentencepiece tokenizers: what is sampled is what is scored is what is trained."""

import logging
import random
from pathlib import Path

import pytest
import torch
from chat_templates import CHATML, GEMMA, LLAMA3, QWEN3, QWEN25, R1, SPECIAL, TEMPLATES, TEXTS, tokenizer_of
from made import made_dataset
from tiny_model import tiny_config, write_model
from transformers import LlamaConfig, LlamaForCausalLM

from sgpo_data.engines import ChatTemplate, GenerateRequest, Sampling, ScoreRequest
from sgpo_data.engines.chat import Chat
from sgpo_data.engines.local.transformers import TransformersEngine
from sgpo_data.engines.template import QUESTION, SENTINEL
from sgpo_data.engines.turns import MARKS
from sgpo_data.errors import DatasetError, ModelError
from sgpo_data.execution import Execution
from sgpo_data.rows import Message
from sgpo_data.training.options import Train
from sgpo_data.training.rows import ALTERED, EQUAL, UNKNOWN, token_rows
from sgpo_data.training.task import TrainingTask


def ask(text: str) -> list[Message]:
    return [Message(role="user", content=text)]


def learned(chat: Chat) -> LlamaForCausalLM:
    """A model that knows the answers by heart, trained on the ids that training would use."""
    torch.manual_seed(0)
    shape = LlamaConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=256)
    shape.vocab_size, shape.bos_token_id, shape.eos_token_id, shape.pad_token_id = len(chat.tokenizer), 1, 2, 2
    model = LlamaForCausalLM(shape)  # type: ignore[no-untyped-call]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rows = [found for question, answer in TEXTS.items() if (found := chat.rendering(ask(question), answer)) is not None]
    assert len(rows) == len(TEXTS)
    longest = max(len(row.prompt) + len(row.answer) for row in rows)
    # What is behind an answer is seen by nothing before it, and is no target.
    ids = torch.tensor([[*row.prompt, *row.answer, *[0] * (longest - len(row.prompt) - len(row.answer))] for row in rows])
    labels = torch.tensor([[*[-100] * len(row.prompt), *row.answer, *[-100] * (longest - len(row.prompt) - len(row.answer))] for row in rows])
    for _ in range(90):
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()  # type: ignore[no-untyped-call]
    return model


@pytest.mark.parametrize("kind", ["byte", "first", "legacy"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_own_answers_are_scored_as_they_were_sampled_and_trained_as_the_template_writes_them(name: str, kind: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(kind, TEMPLATES[name])
    chat = Chat(tokenizer, place="x")
    engine = TransformersEngine(learned(chat), chat, context_tokens=256, batch_tokens=4000, window=8)
    greedy = Sampling(temperature=0, max_tokens=40)
    answers = {answer.key[0]: answer for answer in engine.generate(GenerateRequest((text, 0), ask(text), 0, greedy) for text in TEXTS)}
    assert {text: answer.text for text, answer in answers.items()} == TEXTS
    assert [answer.retokenized for answer in answers.values()] == [False] * len(TEXTS)
    for text, answer in answers.items():
        (scored,) = engine.score([ScoreRequest((text, 0, "policy"), ask(text), (TEXTS[text],))])
        assert scored.likelihoods[0].nll == pytest.approx(answer.nll, rel=1e-3)
        assert scored.likelihoods[0].tokens == answer.tokens
    # The oracle: the template's own text of the whole conversation, tokenized at once.
    for question, text in TEXTS.items():
        read = chat.rendering(ask(question), text)
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
        whole = str(tokenizer.apply_chat_template(turns, tokenize=False, strftime_now=lambda _: "26 Jul 2024"))
        ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
        assert read is not None
        assert [*read.prompt, *read.answer, *read.closing] == ids[ids[:2] == [1, 1] :]
    task = task_of(tmp_path, list(TEXTS.items()), "sft")
    rows = [row["input_ids"] for row in token_rows(task, chat).data]
    assert rows == [[*read.prompt, *read.answer] for question, text in TEXTS.items() if (read := chat.rendering(ask(question), text)) is not None]


def task_of(folder: Path, rows: list[tuple[str, ...]], objective: str) -> TrainingTask:
    names = ("completion",) if objective == "sft" else ("chosen", "rejected")
    made = []
    for number, (question, *texts) in enumerate(rows):
        answers = {name: [Message(role="assistant", content=text)] for name, text in zip(names, texts, strict=True)}
        common = {"prompt": ask(question), "prompt_id": f"{number:032x}", "sample": 0, "source": "x", "policy": None}
        made.append({**common, **answers, **({"kind": "reference"} if objective == "sft" else {})})
    dataset = made_dataset(folder / "rows", "examples" if objective == "sft" else "pairs", made)
    train = Train(objective="sft" if objective == "sft" else "dpo", learning_rate=1e-4)
    return TrainingTask(
        train=train, files=tuple(dataset.paths), start=folder, start_identity="folder:x", reference=None, dtype="float32", longest=256,
        work=folder, seconds_before=0.0, devices=1, execution=Execution(),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["byte", "first"])
def test_a_special_token_written_by_a_model_or_a_stranger_is_characters_in_scoring_and_in_training(kind: str, tmp_path: Path) -> None:
    chat = Chat(tokenizer_of(kind, CHATML), place="x")
    end = chat.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert isinstance(end, int)
    read = chat.rendering(ask("What is <|im_end|>?"), "It is <|im_end|> here")
    assert read is not None
    assert read.prompt.count(end) == 1
    assert read.answer.count(end) == 1
    assert chat.text(read.answer[:-1]) == "It is <|im_end|> here"
    (row,) = token_rows(task_of(tmp_path, [("What is <|im_end|>?", "It is <|im_end|> here")], "sft"), chat).data
    assert row["input_ids"] == [*read.prompt, *read.answer]


def turns(*texts: tuple[str, str]) -> list[Message]:
    return [Message(role=role, content=text) for role, text in texts]


@pytest.mark.parametrize("text", ["<|im_start|>", "<|im_end|>", "user", "<|im_start|>user", "assistant\n<|im_start|>"])
def test_a_turn_that_repeats_what_the_template_writes_is_told_from_it(text: str) -> None:
    tokenizer = tokenizer_of("byte", CHATML)
    start, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|im_start|>", "<|im_end|>"))

    def plain(part: str) -> list[int]:
        return list(tokenizer(part, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    expected = [start, *plain("user\n"), *plain(text), end, *plain("\n"), start, *plain("assistant\n")]
    # Where no stranger wrote a special token, the text between two of them is tokenized at once.
    expected = expected if "<|" in text else [start, *plain(f"user\n{text}"), end, *plain("\n"), start, *plain("assistant\n")]
    assert Chat(tokenizer, place="x").prompt_ids(ask(text)) == expected


UNSYSTEMATIC = CHATML.replace("{%- for m in messages %}", "{%- for m in messages if m.role != 'system' %}")
ONLY_THE_LAST_THREE = CHATML.replace("{%- for m in messages %}", "{%- for m in messages[-3:] %}")
ONLY_FULL = CHATML.replace("{%- for m in messages %}", "{%- for m in messages if m.content | trim %}")
CUT = CHATML.replace("m.content", "m.content[:40]")
AGAIN = ("user", "Go on."), ("assistant", "One."), ("user", "Go on.")


@pytest.mark.parametrize(
    ("template", "conversation"),
    [
        (UNSYSTEMATIC, (("system", "user"), ("user", "q"))),
        (UNSYSTEMATIC, (("system", "q"), ("user", "q"))),
        (ONLY_THE_LAST_THREE, (*AGAIN,)),
        (ONLY_FULL, (("user", ""), ("user", "q"))),
        (ONLY_FULL, (("user", " "), ("assistant", "What?"), ("user", "q"))),
        (CUT, (("user", "x" * 41),)),
        (CUT, (("user", "x" * 400),)),
    ],
)
def test_a_turn_that_is_dropped_or_cut_is_seen_though_its_words_stand_elsewhere(template: str, conversation: tuple[tuple[str, str], ...]) -> None:
    chat = Chat(tokenizer_of("byte", template), place="x")
    assert chat.prompt_ids(turns(*conversation)) is None
    assert chat.rendering(turns(*conversation), "a") is None
    assert chat.prompt_ids(ask("q")) is not None


@pytest.mark.parametrize("kind", ["byte", "first", "legacy"])
def test_whatever_stands_in_the_turns_only_the_template_ends_one(kind: str) -> None:
    rng = random.Random(0)
    parts = [
        *SPECIAL, "<think>", "</think>", "user", "assistant", "\n", " ", "", "\U000f0000", "\U000f0001",
        SENTINEL, QUESTION, "Straße", "🙂", "e\u0301", "\x00", "\u3000",
    ]  # fmt: skip
    chat = Chat(tokenizer_of(kind, CHATML), place="x")
    for _ in range(150):
        conversation = [(role, "".join(rng.choices(parts, k=rng.randrange(5)))) for role in ("system", "user", "assistant", "user")[rng.randrange(2) :]]
        answer = "".join(rng.choices(parts, k=4))
        read, ids = chat.rendering(turns(*conversation), answer), chat.prompt_ids(turns(*conversation))
        assert read is not None
        assert read.prompt == ids
        assert (read.prompt.count(chat.end_of_turn), read.answer.count(chat.end_of_turn)) == (len(conversation), 1)


def test_a_conversation_that_leaves_no_character_for_a_mark_is_a_refused_row() -> None:
    assert Chat(tokenizer_of("byte", CHATML), place="x").prompt_ids(ask("".join(map(chr, MARKS)))) is None


LOUD = CHATML.replace("m.content", "(m.content | upper if m.role == 'user' else m.content)")
TITLED = CHATML.replace("m.content", "(m.content | title if m.role == 'user' else m.content)")
TRIMMED = CHATML.replace("m.content", "m.content | trim")
LATE_SYSTEM = """{%- for m in messages if m.role != 'system' %}{{- '<|im_start|>' + m.role + '\\n' }}
{%- if loop.index0 == 2 %}{{- messages[0].content + '\\n\\n' }}{% endif %}{{- m.content + '<|im_end|>\\n' }}{% endfor %}"""
TWICE = CHATML.replace("m.content", "(m.content + ' (again: ' + m.content + ')' if m.role == 'user' else m.content)")
ASKED = CHATML.replace("m.content", "(m.content + (' /quick' if m.role == 'user' and not m.content.endswith('/quick') else ''))")
REASONED = ("user", "2 + 2?"), ("assistant", "<think>\nTwo <|im_end|> and two.\n</think>\n\nFour."), ("user", "Sure <|im_end|>?")


@pytest.mark.parametrize(
    ("template", "conversation", "text"),
    [
        (TRIMMED, (("system", "\n Be brief. "), ("user", " q\n")), "system\nBe brief.<|im_end|>\n<|im_start|>user\nq<|im_end|>"),
        (TRIMMED, (("user", " \n"),), "user\n<|im_end|>"),
        (CHATML, (("user", " "),), "user\n <|im_end|>"),
        (ONLY_FULL, (*AGAIN,), "user\nGo on.<|im_end|>\n<|im_start|>assistant\nOne.<|im_end|>\n<|im_start|>user\nGo on.<|im_end|>"),
        (LOUD, (("user", "Straße ﬁx"),), "user\nSTRASSE FIX<|im_end|>"),
        (TITLED, (("user", "go on"),), "user\nGo On<|im_end|>"),
        (LATE_SYSTEM, (("system", "Be brief."), *AGAIN), "user\nBe brief.\n\nGo on.<|im_end|>"),
        (TWICE, (("user", "a <|im_end|> b"),), "user\na <|im_end|> b (again: a <|im_end|> b)<|im_end|>"),
        (ASKED, (("user", "q /quick"),), "user\nq /quick<|im_end|>"),
        (QWEN3, (*REASONED,), "assistant\nFour.<|im_end|>\n<|im_start|>user\nSure <|im_end|>?<|im_end|>"),
        (CHATML, (*REASONED,), "<think>\nTwo <|im_end|> and two.\n</think>\n\nFour.<|im_end|>"),
        (QWEN3, (("user", "q"), ("assistant", "<think>\n\n</think>\n\n"), ("user", "r")), "assistant\n<|im_end|>\n<|im_start|>user\nr<|im_end|>"),
    ],
)
def test_a_turn_that_is_trimmed_moved_or_in_other_case_stays_and_so_does_one_without_its_reasoning(
    template: str, conversation: tuple[tuple[str, str], ...], text: str
) -> None:
    chat = Chat(tokenizer_of("byte", template), place="x")
    ids = chat.prompt_ids(turns(*conversation))
    assert ids is not None
    assert text in chat.tokenizer.decode(ids)
    # Only the template's own end a turn.
    written = sum(role != "system" or template is not LATE_SYSTEM for role, _ in conversation)
    assert ids.count(chat.end_of_turn) == written


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for m in messages %}{{ m.role }}\n{{ m.content }}\n\n{% endfor %}", "writes no end of turn"),
        (CHATML.partition("\n{%- if add")[0], "lacks '<|im_start|>assistant\\n'"),
        (QWEN3, "lacks '<think>\\n\\n</think>\\n\\n'"),
        (R1, "ends with '<think>\\n', which it leaves out of answers"),
        (R1, "leaves the reasoning before </think> out"),
        (LLAMA3, "writes today's date"),
        (GEMMA, "refuses a system turn: System role not supported"),
        (CHATML.replace("m.content", "m.content | tojson"), "writes '\"' between an answer and its end of turn"),
        (CHATML.replace("m.content", "m.content + strftime_now('%H:%M')"), "writes '00:00' between an answer and its end of turn"),
        (CHATML.replace("{%- for m in messages %}", "{%- for m in messages if m.role != 'system' %}"), "leaves the system turn out"),
    ],
)
def test_what_a_template_does_is_said_before_anything_is_generated(template: str, words: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Chat(tokenizer_of("byte", template), place=f"{words} in {template[:9]}")
    assert words in caplog.text


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (CHATML.replace("m.content", "('' if m.role == 'user' else m.content)"), "loses the text of the question"),
        (CHATML.replace("m.content", "('' if m.role == 'assistant' else m.content)"), "loses the text of the answer"),
        (CHATML.replace("{%- for", "{{ raise_exception('no chats') }}{%- for"), "refuses a question and an answer: no chats"),
        (CHATML.replace("'<|im_start|>'", "'<|im_start|>' + range(1000) | random | string"), "writes another text each time"),
        (CHATML.replace("m.content", "m.content | capitalize"), "loses the text of the answer"),
    ],
)
def test_a_template_that_loses_a_turn_is_refused(template: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Chat(tokenizer_of("byte", template), place="x")


def test_prompts_whose_turns_the_template_drops_or_refuses_are_refused_rows() -> None:
    system = [Message(role="system", content="Be brief."), *ask("q")]
    dropping = CHATML.replace("{%- for m in messages %}", "{%- for m in messages if m.role != 'system' %}")
    for template in (GEMMA, dropping):
        chat = Chat(tokenizer_of("byte", template), place="x")
        assert chat.prompt_ids(system) is None
        assert chat.rendering(system, "a") is None
        assert chat.prompt_ids(ask("q")) is not None


def test_arguments_reach_the_template_and_a_day_is_pinned() -> None:
    def prompt(template: str, **arguments: str | bool) -> str:
        chat = Chat(tokenizer_of("byte", template), place="x", template=ChatTemplate(template=dict(arguments)))
        return str(chat.tokenizer.decode(chat.prompt_ids(ask("q")) or []))

    assert "26 Jul 2024" in prompt(LLAMA3)
    assert "31 Jan 2026" in prompt(LLAMA3, today="2026-01-31")
    assert prompt(QWEN3, enable_thinking=False) == prompt(QWEN3)
    with pytest.raises(ModelError, match=r"template\.today: soon is no date"):
        prompt(LLAMA3, today="soon")


def test_a_named_template_is_chosen_and_a_missing_one_is_one_line_that_lists_them() -> None:
    tokenizer = tokenizer_of("byte", CHATML)
    tokenizer.chat_template = {"tool_use": CHATML, "rag": QWEN25}
    assert Chat(tokenizer, place="x", template=ChatTemplate(template_name="rag")).prompt_ids(ask("q"))
    with pytest.raises(ModelError, match=r"x: none of its chat templates is named default; choose one with template_name: rag, tool_use"):
        Chat(tokenizer, place="x")


def test_pairs_that_a_template_makes_equal_or_changes_are_counted_and_many_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cut = Chat(tokenizer_of("byte", CHATML.replace("m.content", "m.content[:30]")), place="x")
    rows = [(f"q {number}", f"answer {number}", f"other {number}") for number in range(40)]
    kept = token_rows(task_of(tmp_path / "a", [*rows, ("q", "same ", "same")], "dpo"), Chat(tokenizer_of("byte", GEMMA), place="x"))
    assert (len(kept.data), kept.unusable) == (40, {EQUAL: 1})
    kept = token_rows(task_of(tmp_path / "b", [*rows, ("q", "an answer that is much too long and cut", "short")], "dpo"), cut)
    assert (len(kept.data), kept.unusable) == (40, {ALTERED: 1})
    with pytest.raises(DatasetError, match=r"train: 5 of 45 rows cannot be trained on: 5 with an answer that the chat template cuts"):
        token_rows(task_of(tmp_path / "c", [*rows, *((f"r {n}", f"an answer that is much too long and cut {n}", "short") for n in range(5))], "dpo"), cut)


def test_answers_with_characters_that_a_tokenizer_does_not_know_are_no_targets(tmp_path: Path) -> None:
    rows: list[tuple[str, ...]] = [("q é", "A brush", "a saw"), ("q", "A brush ☃", "a saw")]
    kept = token_rows(task_of(tmp_path / "a", rows, "dpo"), Chat(tokenizer_of("legacy", CHATML), place="x"))
    assert (len(kept.data), kept.unusable) == (2, {})
    kept = token_rows(task_of(tmp_path / "b", rows, "dpo"), Chat(tokenizer_of("legacy", CHATML, knows_bytes=False), place="x"))
    assert (len(kept.data), kept.unusable) == (1, {UNKNOWN: 1})


def test_what_training_leaves_out_as_unknown_has_no_likelihood_and_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = tokenizer_of("legacy", CHATML, knows_bytes=False)
    folder = write_model(tmp_path / "model", tokenizer=tokenizer, config=tiny_config(len(tokenizer)))
    engine = TransformersEngine.load(folder, dtype="float32", context_tokens=None, adapter=None, device="cpu", batch_tokens=2000, window=64)
    answers = ("A brush", "A brush ☃", "a saw", "☃")
    asked = [ScoreRequest(("p", sample, "policy"), ask("q é"), answers, cut) for sample, cut in enumerate((frozenset[int](), frozenset(range(4))))]
    scored = {each.key[1]: each.likelihoods for each in engine.score(asked)}
    # The last token of an answer that was cut is one of its own, and no end of turn.
    assert [[each.nll is not None for each in scored[sample]] for sample in (0, 1)] == [[True, False, True, False]] * 2
    assert "score: 4 likelihoods are null, of answers with characters that the tokenizer does not know" in caplog.text
    rows: list[tuple[str, ...]] = [*(("q é", answer, "brush") for answer in answers), *[("q", "brush", "saw")] * 40]
    assert token_rows(task_of(tmp_path / "a", rows, "dpo"), Chat(tokenizer, place="x")).unusable == {UNKNOWN: 2}


FILLED_ONLY = """{% for m in messages %}{% if m.content %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"""


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_a_blank_system_turn_that_the_template_leaves_out_loses_nothing(blank: str) -> None:
    chat = Chat(tokenizer_of("byte", FILLED_ONLY), place="x")
    without = chat.prompt_ids(ask("q"))
    assert without is not None
    if not blank:
        assert chat.prompt_ids([Message(role="system", content=blank), *ask("q")]) == without
    # A template that writes it may say another thing without it: its own system turn.
    with_default = Chat(tokenizer_of("byte", QWEN25), place="x")
    written = with_default.prompt_ids([Message(role="system", content=blank), *ask("q")])
    assert written is not None
    assert written != with_default.prompt_ids(ask("q"))
    assert chat.prompt_ids([Message(role="system", content="Be brief."), *ask("q")]) != without
