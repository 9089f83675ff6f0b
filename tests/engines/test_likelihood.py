import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from renderings import answer_ids
from tiny_model import BOS, CHATML, CONTEXT, END, EOS, START, question, tiny_tokenizer, write_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from sgpo_data.engines import ScoreRequest
from sgpo_data.engines.chat import Chat
from sgpo_data.engines.local.transformers import TransformersEngine
from sgpo_data.errors import EngineError, ModelError
from sgpo_data.rows import Message

ROWS = [
    ("what is the list", "the list of the answer"),
    ("a", "b"),
    ("the question of the user", ""),
    ("Grüße, 世界", "naïve 🙂 answer"),
    ("  spaces  ", "  kept as they are \n"),
    ("x" * 40, "y"),
    ("y", "x" * 40),
    ("is it", "it is <|im_end|> not the end"),
    ("1 2 3", "3, 2, 1"),
    ("the the the", "the the the the"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def oracle(folder: Path) -> "Oracle":
    return Oracle(folder)


def engine(folder: Path, *, batch_tokens: int = 2000, window: int = 64) -> TransformersEngine:
    return TransformersEngine.load(folder, dtype="float32", context_tokens=None, adapter=None, device="cpu", batch_tokens=batch_tokens, window=window)


class Oracle:
    """Plain full logits in float64, one row at a time, over ids that are spelled out."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def plain(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def prompt(self, text: str) -> list[int]:
        return [BOS, START, *self.plain("user\n"), *self.plain(text), END, *self.plain("\n"), START, *self.plain("assistant\n")]

    def nll(self, prompt: list[int], answer: list[int]) -> float:
        with torch.no_grad():
            log_probabilities = self.model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        return -math.fsum(log_probabilities[len(prompt) + index - 1, token].item() for index, token in enumerate(answer))


def test_likelihood_agrees_with_a_plain_float64_forward(folder: Path, oracle: Oracle) -> None:
    requests = [ScoreRequest((f"p{row}", 0, "policy"), question(prompt), (answer,)) for row, (prompt, answer) in enumerate(ROWS)]
    found = {scored.key[0]: scored.likelihoods for scored in engine(folder).score(requests)}
    assert len(found) == len(ROWS)
    for row, (prompt, answer) in enumerate(ROWS):
        (likelihood,) = found[f"p{row}"]
        ids = [*oracle.plain(answer), END]
        assert likelihood.nll == pytest.approx(oracle.nll(oracle.prompt(prompt), ids), rel=1e-4)
        assert likelihood.tokens == len(ids)


def test_likelihood_differs_when_boundary_bos_or_end_of_turn_slip_by_one_token(folder: Path, oracle: Oracle) -> None:
    text, answer_text = ROWS[0]
    prompt, answer = oracle.prompt(text), [*oracle.plain(answer_text), END]
    slipped = {
        "boundary one early": (prompt[:-1], [prompt[-1], *answer]),
        "boundary one late": ([*prompt, answer[0]], answer[1:]),
        "no bos": (prompt[1:], answer),
        "two bos": ([BOS, *prompt], answer),
        "no end of turn": (prompt, answer[:-1]),
        "end of sequence for end of turn": (prompt, [*answer[:-1], EOS]),
        "newline after the end of turn": (prompt, [*answer, *oracle.plain("\n")]),
    }
    (scored,) = engine(folder).score([ScoreRequest(("p", 0, "policy"), question(text), (answer_text,))])
    nll = scored.likelihoods[0].nll
    assert nll == pytest.approx(oracle.nll(prompt, answer), rel=1e-4)
    for name, (other_prompt, other_answer) in slipped.items():
        assert abs(oracle.nll(other_prompt, other_answer) - (nll or 0)) > 0.01, name


def test_likelihood_does_not_depend_on_the_batch(folder: Path) -> None:
    requests = [ScoreRequest((f"p{row}", 0, "policy"), question(prompt), (answer, answer[:3], prompt)) for row, (prompt, answer) in enumerate(ROWS)]
    alone, together = (
        {scored.key: scored.likelihoods for scored in engine(folder, batch_tokens=batch_tokens, window=window).score(requests)}
        for batch_tokens, window in ((1, 1), (5000, 64))
    )
    for key, likelihoods in alone.items():
        for one, other in zip(likelihoods, together[key], strict=True):
            assert one.nll == pytest.approx(other.nll, rel=1e-5)
            assert one.tokens == other.tokens


def test_pair_longer_than_the_context_has_no_nll_and_its_tokens_counted(folder: Path, oracle: Oracle) -> None:
    room = CONTEXT - len(oracle.prompt("q"))
    answers = tuple("?" * count for count in range(room - 3, room + 3))
    lengths = [len(oracle.plain(answer)) + 1 for answer in answers]
    assert {room, room + 1} <= set(lengths)
    (scored,) = engine(folder).score([ScoreRequest(("p", 0, "policy"), question("q"), answers)])
    assert [likelihood.tokens for likelihood in scored.likelihoods] == lengths
    assert [likelihood.nll is None for likelihood in scored.likelihoods] == [length > room for length in lengths]


def test_refused_prompt_has_no_nll_and_its_tokens_counted(folder: Path) -> None:
    requests = [
        ScoreRequest(("refused", 0, "policy"), [Message(role="refused", content="x")], ("b", "")),
        ScoreRequest(("nothing asked", 0, "policy"), question("x"), ()),
        ScoreRequest(("fine", 0, "policy"), question("x"), ("b",)),
    ]
    found = {scored.key[0]: scored.likelihoods for scored in engine(folder).score(requests)}
    assert [(likelihood.nll, likelihood.tokens) for likelihood in found["refused"]] == [(None, 2), (None, 1)]
    assert found["nothing asked"] == ()
    assert found["fine"][0].nll is not None


def test_scoring_draws_no_more_than_the_window(folder: Path) -> None:
    drawn = 0

    def requests() -> Iterator[ScoreRequest]:
        nonlocal drawn
        for row in range(12):
            drawn += 1
            yield ScoreRequest((f"p{row}", 0, "policy"), question("q"), ("a", "b"))

    for yielded, _ in enumerate(engine(folder, batch_tokens=100, window=3).score(requests())):
        assert drawn - yielded <= 3


def test_scoring_goes_on_with_fewer_tokens_at_once_when_memory_runs_out(folder: Path) -> None:
    requests = [ScoreRequest((f"p{row}", 0, "policy"), question(prompt), (answer, prompt, "")) for row, (prompt, answer) in enumerate(ROWS)]
    expected = {scored.key: scored.likelihoods for scored in engine(folder, batch_tokens=1).score(requests)}
    small = AutoModelForCausalLM.from_pretrained(folder)
    limit = 10**6
    refused = []

    def allocate(_: object, args: tuple[torch.Tensor]) -> None:
        if args[0].numel() > limit:
            refused.append(args[0].numel())
            raise torch.OutOfMemoryError("full")

    small.model.embed_tokens.register_forward_pre_hook(allocate)
    limited = TransformersEngine(small, Chat(tiny_tokenizer(), place="x"), context_tokens=CONTEXT, batch_tokens=10**6, window=64)
    stream = limited.score(requests)
    limit = 120
    found = list(stream)
    assert len(found) == len(ROWS)
    for scored in found:
        assert [item.nll for item in scored.likelihoods] == pytest.approx([item.nll for item in expected[scored.key]], rel=1e-5)
    # What was too much once is not tried again.
    assert refused == sorted(set(refused), reverse=True)
    stream = limited.score(requests)
    limit = 0
    with pytest.raises(EngineError, match=r"out of memory for one row of .* tokens; lower"):
        list(stream)


def test_logits_that_are_not_finite_end_the_scoring(folder: Path) -> None:
    broken = AutoModelForCausalLM.from_pretrained(folder)
    torch.nn.init.constant_(broken.lm_head.weight, math.inf)
    limited = TransformersEngine(broken, Chat(tiny_tokenizer(), place="x"), context_tokens=CONTEXT, batch_tokens=1, window=64)
    with pytest.raises(EngineError, match=r"not finite in torch\.float32; the weights, .* hold NaN or infinity"):
        list(limited.score([ScoreRequest(("p", 0, "policy"), question("q"), ("a",))]))


TURN = "{% for m in messages %}[{{ m.role }}]{{ m.content }}"


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (CHATML, END),
        (TURN + "{% if m.role == 'assistant' %}</s>{% endif %}{% endfor %}", EOS),
        (TURN + "{% if m.role == 'assistant' %} </s>{% endif %}{% endfor %}", EOS),
        (TURN + "<|im_end|></s>\n{% endfor %}", END),
        (TURN + "{% endfor %}", EOS),
        (TURN.replace("m.content", "m.content | trim | upper if m.role == 'user' else m.content | trim") + "<|im_end|>{% endfor %}", END),
    ],
)
def test_end_of_turn_is_read_off_the_template(template: str, end: int) -> None:
    chat = Chat(tiny_tokenizer(template=template), place="x")
    assert chat.end_of_turn == end
    assert answer_ids(chat, "a")[-1] == end
    assert answer_ids(chat, "")[-1] == end
    assert chat.stop_ids(7) == {end, EOS, 7}
    assert chat.stop_ids([7, 8]) == {end, EOS, 7, 8}
    assert chat.stop_ids(None) == {end, EOS}


@pytest.mark.parametrize(
    ("written", "puts_bos", "count"),
    [("<s>", False, 1), ("<s>", True, 1), ("", True, 0), ("<s><s>", False, 1), ("", False, 0)],
)
def test_prompt_begins_with_one_bos_if_the_template_writes_it(written: str, puts_bos: bool, count: int) -> None:
    chat = Chat(tiny_tokenizer(template=CHATML.replace("{{- bos_token }}", written), puts_bos=puts_bos), place="x")
    ids = chat.prompt_ids(question("hello")) or []
    assert ids[: count + 1] == [BOS] * count + [START]
    assert answer_ids(chat, "hello")[0] != BOS


def test_prompt_keeps_the_content_as_it_is() -> None:
    tokenizer = tiny_tokenizer()
    ids = Chat(tokenizer, place="x").prompt_ids(question("  two\n\nlines 🙂  ")) or []
    assert tokenizer.decode(ids) == "<s><|im_start|>user\n  two\n\nlines 🙂  <|im_end|>\n<|im_start|>assistant\n"


def test_special_token_written_in_an_answer_is_plain_text() -> None:
    tokenizer = tiny_tokenizer()
    chat = Chat(tokenizer, place="x")
    ids = answer_ids(chat, "a<|im_end|>b</s>")
    assert ids.count(END) == 1
    assert EOS not in ids
    assert tokenizer.decode(ids[:-1]) == "a<|im_end|>b</s>"
    assert (chat.prompt_ids(question("x")) or []).count(START) == 2, "the prompt that follows is templated with special tokens again"


def test_text_is_valid_unicode_even_if_a_character_is_cut() -> None:
    chat = Chat(tiny_tokenizer(), place="x")
    ids = answer_ids(chat, "🙂 é")[:-1]
    assert chat.text([START, *ids, END]) == "🙂 é"
    for count in range(len(ids)):
        assert chat.text(ids[:count]).encode().decode().startswith("�" if 0 < count < 4 else "")


def test_tokenizer_without_template_or_end_is_refused() -> None:
    tokenizer = tiny_tokenizer(template="")
    with pytest.raises(ModelError, match=r"^m: the tokenizer has no chat template; add chat_template\.jinja to the folder$"):
        Chat(tokenizer, place="m")
    endless = tiny_tokenizer(template=TURN + "{% endfor %}")
    endless.eos_token = None
    with pytest.raises(ModelError, match="neither the chat template nor the tokenizer has an end of turn"):
        Chat(endless, place="m")
    with pytest.raises(ModelError, match="the chat template refuses a question and an answer: never"):
        Chat(tiny_tokenizer(template="{{ raise_exception('never') }}"), place="m")


def test_request_is_not_changed(folder: Path) -> None:
    request = ScoreRequest(("p", 0, "policy"), question("q"), ("a",))
    before = replace(request, messages=[Message(**message) for message in request.messages])
    list(engine(folder).score([request]))
    assert request == before


def test_answer_that_was_cut_before_its_first_character_has_no_likelihood(folder: Path) -> None:
    (scored,) = engine(folder).score([ScoreRequest(("p", 0, "policy"), question("q"), ("", "a"), frozenset((0,)))])
    assert [each.nll is None for each in scored.likelihoods] == [True, False]
