import importlib.util
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from chat_server import Fault, serving
from pydantic import JsonValue
from sgpo_data.cli.main import app
from tiny_model import question, sampled
from typer.testing import CliRunner, Result
from vllm_server import closed_port

from sgpo_data.engines import GenerateRequest, Generation, Key, Sampling
from sgpo_data.engines.server.openai import OpenAIEngine, without_secrets
from sgpo_data.errors import EngineError, MissingExtraError, ServerError, SgpoError
from sgpo_data.execution import Execution
from sgpo_data.loop.loop import run_recipe
from sgpo_data.rows import Message
from sgpo_data.store.dataset import open_dataset

if importlib.util.find_spec("openai") is None:
    pytest.skip("openai is not installed", allow_module_level=True)

GREEDY = Sampling(temperature=0, max_tokens=24)
FREE = Sampling(temperature=1.0, top_p=1.0, max_tokens=24)


@pytest.fixture(autouse=True)
def without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def connect(
    url: str,
    *,
    window: int = 64,
    seconds: float = 30,
    key_variable: str = "OPENAI_API_KEY",
    model: str = "m",
    attempts: int = 10,
    template: dict[str, JsonValue] | None = None,
) -> OpenAIEngine:
    return OpenAIEngine.connect(model, base_url=url, key_variable=key_variable, window=window, request_seconds=seconds, attempts=attempts, template=template)


def requests(rows: int) -> list[GenerateRequest]:
    return [GenerateRequest((f"p{row}", 0), question(f"question {row}"), seed=2**62 + row, sampling=FREE) for row in range(rows)]


def answers(url: str, asked: list[GenerateRequest], sampling: Sampling = FREE, *, window: int = 64, seconds: float = 30) -> dict[str, Generation]:
    engine = connect(url, window=window, seconds=seconds)
    try:
        found = list(engine.generate(sampled(asked, sampling)))
    finally:
        engine.close()
    assert Counter(one.key for one in found) == Counter(request.key for request in asked)
    return {one.key[0]: one for one in found}


def faults(seed: int) -> Fault:
    """10 % 503, 5 % 429, 5 % dropped connections, 2 % hangs, each attempt by itself."""

    def fault(text: str, before: int) -> str | None:
        dice = random.Random(f"{seed}/{text}/{before}").random()
        return "503 busy" if dice < 0.10 else "429 slower" if dice < 0.15 else "drop" if dice < 0.20 else "hang" if dice < 0.22 else None

    return fault


def test_every_row_arrives_once_from_a_server_that_fails_often() -> None:
    with serving(lambda text, before: None if text == "models" else faults(3)(text, before)) as server:
        # Far above what an answer takes on a busy machine: only what hangs is asked again for being late.
        found = answers(server.url, requests(250), seconds=5.0)
        assert {one.text for one in found.values()} == {f"question {row} / {2**62 + row}" for row in range(250)}
        assert set(server.answered.values()) == {1}
        assert sum(server.asked.values()) > 270


def test_what_is_asked_is_the_sampling_of_the_recipe_and_the_seed_of_the_row() -> None:
    with serving() as server:
        found = answers(server.url, requests(1), Sampling(temperature=0.5, top_p=0.8, top_k=7, max_tokens=9))
        named = {"model": "m", "messages": question("question 0"), "temperature": 0.5, "top_p": 0.8, "top_k": 7, "max_tokens": 9, "seed": 2**62}
        # What is not named a server takes from the model's generation_config.
        neutral = {"min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
        assert server.bodies == [{**named, **neutral, "logprobs": True}]
        assert found["p0"] == Generation(("p0", 0), f"question 0 / {2**62}", "stop", nll=1.0, tokens=4)
        answers(server.url, requests(1), Sampling(top_k=0))
        assert server.bodies[-1]["top_k"] == -1


def test_a_server_that_does_not_take_a_neutral_value_is_asked_without_it_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    unknown = ("top_k", "min_p", "repetition_penalty")
    with serving(unknown=unknown) as server:
        found = answers(server.url, requests(20), window=4)
        assert {one.finish for one in found.values()} == {"stop"}
        assert not set(unknown) & set(server.bodies[-1])
        assert server.bodies[-1]["presence_penalty"] == 0.0
    assert [sum(f"does not take {name}" in message for message in caplog.messages) for name in unknown] == [1, 1, 1]
    with serving(unknown=["top_k"]) as server, pytest.raises(EngineError, match=r"does not take what is asked .*top_k"):
        answers(server.url, requests(1), Sampling(top_k=7))


@pytest.mark.parametrize("hint", ["", " Use 'max_completion_tokens' instead."])
def test_a_server_that_wants_max_completion_tokens_gets_it(hint: str) -> None:
    with serving(unknown=[f"max_tokens{hint}"]) as server:
        found = answers(server.url, requests(20), Sampling(max_tokens=9), window=4)
        assert {one.finish for one in found.values()} == {"stop"}
        assert (server.bodies[-1]["max_completion_tokens"], "max_tokens" in server.bodies[-1]) == (9, False)
        assert sum(server.asked.values()) <= 20 + 4
    with serving(lambda text, before: "400 max_completion_tokens is unknown to me" if text == "question 1" else None) as server:
        # Once max_tokens was taken, such words are those of the row.
        found = answers(server.url, requests(3), window=1)
        assert [found[f"p{row}"].finish for row in range(3)] == ["stop", "refused", "stop"]
        assert "max_tokens" in server.bodies[-1]


def test_a_server_that_takes_no_seed_is_asked_without_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with serving(unknown=["seed"]) as server:
        found = answers(server.url, requests(20), window=4)
        assert {one.text for one in found.values()} == {f"question {row} / None" for row in range(20)}
    assert sum("does not take seed, so the same rows asked again get other answers" in message for message in caplog.messages) == 1


def test_a_refusal_that_quotes_a_parameter_from_the_row_is_the_refusal_of_the_row() -> None:
    with serving(lambda text, before: "400 not allowed: what is min_p" if text == "question 1" else None) as server:
        found = answers(server.url, requests(3), window=1)
        assert [found[f"p{row}"].finish for row in range(3)] == ["stop", "refused", "stop"]
        assert server.bodies[-1]["min_p"] == 0.0


@pytest.mark.parametrize(
    ("fault", "finish"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("empty", "empty"),
        ("content_filter", "refused"),
        ("400 the content is not allowed", "refused"),
        ("400 This model's maximum context length is 512 tokens. However, you requested 600", "too_long"),
        ("413 too large", "too_long"),
        ("422 roles must alternate", "refused"),
    ],
)
def test_end_of_an_answer_and_refusal_of_a_row_are_its_finish(fault: str, finish: str) -> None:
    with serving(lambda text, before: fault if text == "question 1" else None) as server:
        found = answers(server.url, requests(3))
        assert [found[f"p{row}"].finish for row in range(3)] == ["stop", finish, "stop"]
        if finish in ("refused", "too_long"):
            assert found["p1"] == Generation(("p1", 0), text=None, finish=found["p1"].finish, nll=None, tokens=None)
        assert server.asked["question 1"] == 1


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("401 Incorrect API key provided: sk-secret", EngineError, "the key of environment variable OPENAI_API_KEY is refused (401)"),
        ("403 no", EngineError, "the key of environment variable OPENAI_API_KEY is refused (403)"),
        ("404 The model `m` does not exist", EngineError, "no model m there (404: "),
        ("402 pay first, sk-secret", EngineError, "cannot be used (402: "),
        ("503 busy", ServerError, "overloaded or broken (503: "),
        ("429 slower", ServerError, "overloaded or broken (429: "),
        ("drop", ServerError, "cannot be reached"),
        ("hang", ServerError, "does not answer in time"),
    ],
)
def test_failure_of_the_server_ends_the_stream_in_one_line_without_the_key(
    fault: str, kind: type[SgpoError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with serving(lambda text, before: fault if text == "question 5" else None) as server:
        engine = connect(server.url, window=4, seconds=0.5 if fault == "hang" else 30, attempts=1)
        with pytest.raises(kind) as caught:
            list(engine.generate(sampled(requests(50), FREE)))
        engine.close()
        assert str(caught.value).startswith(server.url)
        assert words in str(caught.value)
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert server.keys == {"Bearer sk-secret"}
    assert "sgpo-openai" not in [thread.name for thread in threading.enumerate()]


def test_key_comes_from_the_variable_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "sk-other")
    with serving() as server:
        connect(server.url, key_variable="OTHER_KEY").close()
        assert server.keys == {"Bearer sk-other"}
    with serving(lambda text, before: "401 who are you") as server, pytest.raises(EngineError, match=r"variable OTHER is not set \(401\)"):
        connect(server.url, key_variable="OTHER")
    assert without_secrets("http://user:word@host:8000/v1?key=x") == "http://host:8000/v1"


def test_server_without_log_probabilities_is_asked_without() -> None:
    with serving(gives_logprobs=False) as server:
        found = answers(server.url, requests(20), window=3)
        assert {(one.finish, one.nll, one.tokens) for one in found.values()} == {("stop", None, 4)}
        assert sum(server.asked.values()) <= 20 + 3


def test_draws_no_more_than_the_window_and_gives_back_while_others_run() -> None:
    drawn = 0

    def counted() -> Iterator[GenerateRequest]:
        nonlocal drawn
        for request in requests(40):
            drawn += 1
            yield request

    together = threading.Barrier(7)

    def fault(text: str, before: int) -> str | None:
        if text in [f"question {row}" for row in range(7)] and not before:
            together.wait(timeout=20)
        return "hang" if text == "question 0" and not before else None

    with serving(fault) as server:
        engine = connect(server.url, window=7)
        keys = []
        for yielded, one in enumerate(engine.generate(sampled(counted(), FREE))):
            assert drawn - yielded <= 7
            keys.append(one.key[0])
            if yielded == 38:
                # All the others are there before the first, which is dropped now and asked for again.
                server.released.set()
        engine.close()
        assert keys[-1] == "p0"
        assert server.most == 7


def test_stream_that_is_dropped_leaves_no_thread_and_no_request() -> None:
    with serving(lambda text, before: "hang" if text != "models" and text != "question 0" else None) as server:
        engine = connect(server.url, window=5)
        stream = engine.generate(sampled(requests(9), FREE))
        assert next(stream).key == ("p0", 0)
        stream.close()  # type: ignore[attr-defined]
        engine.close()
        with pytest.raises(EngineError, match="the engine is closed"):
            engine.generate(sampled(requests(1), FREE))
    assert "sgpo-openai" not in [thread.name for thread in threading.enumerate()]


def test_server_that_is_down_is_named() -> None:
    url = f"http://127.0.0.1:{closed_port()}/v1"
    with pytest.raises(ServerError) as caught:
        connect(url)
    assert str(caught.value) == f"{url}/: cannot be reached; see whether the server runs, then give the same command again"


def test_engine_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgpo_data.engines.loading.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"^openai is not installed; run: pip install 'sgpo-data\[openai\]'$"):
        connect("http://127.0.0.1:1/v1")


SGPO = (sys.executable, "-c", "from sgpo_data.cli.main import main; main()")


def sgpo(folder: Path, *flags: str) -> list[str]:
    given = [str(folder / "prompts.jsonl"), "--model", "openai:m", "-o", str(folder / "out"), "--root", str(folder / "runs"), "--progress", "none"]
    return [*SGPO, "seed", *given, *flags]


def invoked(command: list[str]) -> Result:
    """The same command in this process, where no process is what is tested."""
    return CliRunner().invoke(app, command[len(SGPO) :])


def write_prompts(folder: Path, rows: int) -> None:
    (folder / "prompts.jsonl").write_bytes(b"".join(orjson.dumps({"messages": question(f"question {row}")}) + b"\n" for row in range(rows)))


def test_command_whose_server_is_down_ends_with_4_and_one_line(tmp_path: Path) -> None:
    write_prompts(tmp_path, 3)
    port = closed_port()
    ended = subprocess.run(sgpo(tmp_path, "--base-url", f"http://127.0.0.1:{port}/v1"), capture_output=True, text=True, check=False)
    assert ended.returncode == 4, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"http://127.0.0.1:{port}/v1/: cannot be reached")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("by", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_command_that_was_ended_is_taken_up_where_it_was(by: signal.Signals, status: int, tmp_path: Path) -> None:
    write_prompts(tmp_path, 60)
    reached = threading.Event()
    server_answers = 25

    def fault(text: str, before: int) -> str | None:
        if text == "models" or reached.is_set():
            return None
        with server.lock:
            return "hang" if sum(server.answered.values()) >= server_answers else None

    with serving(fault) as server:
        # Marking near duplicates imports Polars, whose handler of Ctrl-C lets no endless wait hear it.
        flags = ["--base-url", server.url, "--window", "8", "--part-rows", "10", "--source.near_duplicates", "1"]
        environment = {**os.environ, "OPENAI_API_KEY": "sk-secret"}
        process = subprocess.Popen(sgpo(tmp_path, *flags), stderr=subprocess.PIPE, text=True, env=environment)
        assert process.stderr is not None
        while server.under_way < 8 or sum(server.answered.values()) < server_answers:
            assert process.poll() is None, process.stderr.read()
            server.released.wait(0.01)
        process.send_signal(by)
        _, said = process.communicate(timeout=30)
        assert process.returncode == status, said
        assert by == signal.SIGKILL or said.splitlines()[-1] == "stopped; the same command goes on from here"
        reached.set()
        server.released.set()
        subprocess.run(sgpo(tmp_path, *flags), check=True, capture_output=True, env=environment)
        asked = sum(server.asked.values())
    made = open_dataset(tmp_path / "out")
    rows = made.scan().collect()
    assert rows.height == 60
    assert set(rows["finish"]) == {"stop"}
    assert 60 < asked <= 60 + 8
    assert made.manifest.identity.models["policy"].model_dump() == {"identity": "endpoint:m", "location": "openai:m", "verifiable": False}
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"sk-secret" not in path.read_bytes()


SERVED = """
model = "openai:m"
[[phases]]
[phases.source]
path = "prompts.jsonl"
[phases.seed]
[phases.improve]
role = "improve"
"""


def test_a_server_whose_model_changed_makes_no_row_again(tmp_path: Path) -> None:
    """A model at a server is what it is called: rows of the name are not made twice, whoever answers to it, and say that nobody can verify them."""
    write_prompts(tmp_path, 6)
    with serving() as server:
        assert invoked(sgpo(tmp_path, "--base-url", server.url)).exit_code == 0
    rows = open_dataset(tmp_path / "out").scan().collect()
    assert set(rows["policy"]) == {"endpoint:m"}
    with serving(lambda text, before: None if text == "models" else "length") as other:
        again = invoked(sgpo(tmp_path, "--base-url", other.url))
        assert again.exit_code == 0, again.stderr
        assert not other.asked
        assert again.stdout.splitlines()[-1] == str(tmp_path / "out")
        assert open_dataset(tmp_path / "out").scan().collect().equals(rows)
        # Another prompt is another input, and so is another name another model.
        write_prompts(tmp_path, 7)
        changed = invoked(sgpo(tmp_path, "--base-url", other.url))
        assert changed.exit_code == 1, changed.stderr
        assert "another fingerprint" in changed.stderr.splitlines()[-1]
        assert not other.asked
        named = [flag.replace("openai:m", "openai:n").replace(str(tmp_path / "out"), str(tmp_path / "named")) for flag in sgpo(tmp_path)]
        assert invoked([*named, "--base-url", other.url]).exit_code == 0
    assert set(open_dataset(tmp_path / "named").scan().collect()["finish"]) == {"length"}


def test_both_stages_of_a_recipe_get_every_row_once_from_a_server_that_fails_often(tmp_path: Path) -> None:
    write_prompts(tmp_path, 100)
    (tmp_path / "x.toml").write_text(SERVED)
    with serving(lambda text, before: None if text == "models" else faults(5)(text, before)) as server:
        flags = ["--base-url", server.url, "--request-seconds", "1", "--window", "64", "--part-rows", "30"]
        command = [*SGPO, "run", str(tmp_path / "x.toml"), "--root", str(tmp_path / "runs"), "--progress", "none", *flags]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        assert server.most <= 64
        assert len(server.answered) == 200
        assert set(server.answered.values()) == {1}
        assert sum(server.asked.values()) > 210
        drawn = list(server.asked)
    assert drawn.index(next(text for text in drawn if not text.startswith("question"))) < 90
    rows = open_dataset(tmp_path / "runs/x/phase1-1/improved").scan().collect()
    assert rows.height == rows["prompt_id"].n_unique() == 100
    assert set(rows["finish"]) == set(rows["improved_finish"]) == {"stop"}
    # As if improve had waited for all of seed: each response is a part of what was asked for its rewrite.
    for response, improved in zip(rows["response"], rows["improved"], strict=True):
        assert response in improved


SYNPO = """
model = "model"
[[phases]]
name = "policy"
improver = "openai:m"
[phases.source]
path = "prompts.jsonl"
[phases.seed]
sampling.max_tokens = 64
[phases.improve]
role = "improve"
[phases.score-ppl]
"""


def test_a_model_at_a_server_improves_what_a_model_here_has_answered(model: Path, tmp_path: Path) -> None:
    from sgpo_data.toy.__main__ import prompts

    (tmp_path / "model").symlink_to(model)
    prompts(12, 5, tmp_path / "prompts.jsonl")
    (tmp_path / "x.toml").write_text(SYNPO)
    with serving() as server:
        ran = run_recipe(tmp_path / "x.toml", Execution(root=tmp_path / "runs", base_url=server.url, progress="none"))
        assert len(server.answered) == sum(row == "stop" for row in open_dataset(ran[1].step.folder).scan().collect()["finish"])
    rows = open_dataset(tmp_path / "runs/x/policy-1/scored").scan().collect()
    assert set(rows["improver"]) == {"endpoint:m"}
    assert {identity.partition(":")[0] for identity in (*rows["policy"], *rows["scorer"])} == {"folder"}
    improved = rows.filter(rows["improved_finish"] == "stop")
    assert improved.height > 6
    assert improved["improved_nll"].null_count() == 0
    assert 'improver = "openai:m"' in (tmp_path / "runs/x/recipe.toml").read_text()


@pytest.fixture
def model(served_model: Path) -> Path:
    return served_model


def test_greedy_answers_of_vllm_and_of_its_server_are_those_of_transformers(vllm_server: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sgpo_data.engines.local.transformers import TransformersEngine
    from sgpo_data.engines.vllm.engine import VllmEngine
    from sgpo_data.toy.corpus import prompts

    with pytest.raises(EngineError, match=r"OPENAI_API_KEY is not set \(401\)"):
        list(connect(vllm_server, model="toy").generate(sampled(requests(1), GREEDY)))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-right")
    asked = [GenerateRequest((f"p{row}", 0), prompt.messages, seed=row, sampling=FREE) for row, prompt in zip(range(40), prompts(5), strict=False)]
    asked.append(GenerateRequest(("long", 0), question("in " * 600), seed=1, sampling=FREE))
    asked += [GenerateRequest((f"edge{words}", 0), question("in " * words), seed=1, sampling=FREE) for words in range(150, 512, 3)]
    own = TransformersEngine.load(model, dtype="float32", context_tokens=512, adapter=None, device="cpu", batch_tokens=4000, window=64)
    expected = {one.key: one for one in own.generate(sampled(asked, GREEDY))}
    own.close()
    here = VllmEngine.load(model, dtype="float32", context_tokens=512, adapter=None, device="cpu", batch_tokens=4000, window=64)
    assert_same({one.key: one for one in here.generate(sampled(asked, GREEDY))}, expected)
    here.close()
    engine = connect(vllm_server, model="toy")
    found = {one.key: one for one in engine.generate(sampled(asked, GREEDY))}
    seeded = [{one.key: one.text for one in engine.generate(sampled(asked, FREE))} for _ in range(2)]
    with pytest.raises(EngineError, match="no model other there"):
        list(connect(vllm_server, model="other").generate(sampled(asked[:1], GREEDY)))
    engine.close()
    assert seeded[0] == seeded[1]
    # Some have room for a part of the answer only.
    assert any(one.finish == "length" and one.tokens < 24 for one in expected.values() if one.tokens)
    assert_same(found, expected)


def test_a_template_of_vllm_that_loses_turns_is_found_out_before_anything_is_asked(
    vllm_server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-right")
    connect(vllm_server, model="toy").close()
    assert caplog.messages == []
    engine = connect(vllm_server, model="toy", template={"without": "system", "dated": True})
    asked = [
        GenerateRequest(("p", 0), question("Name a tool."), seed=1, sampling=GREEDY),
        GenerateRequest(("p", 1), [Message(role="system", content="Be brief."), *question("Name a tool.")], seed=1, sampling=GREEDY),
    ]
    found = {one.key: one.finish for one in engine.generate(asked)}
    engine.close()
    assert found[("p", 1)] == "refused"
    assert found[("p", 0)] in ("stop", "length")
    (left_out, dated) = caplog.messages
    assert "the chat template leaves the system turn out; prompts with one are rows that say refused" in left_out
    assert "the chat template writes today's date" in dated
    with pytest.raises(EngineError, match="the chat template loses the text of the question"):
        connect(vllm_server, model="toy", template={"without": "user"})


def assert_same(found: dict[Key, Generation], expected: dict[Key, Generation]) -> None:
    assert found.keys() == expected.keys()
    for key, one in expected.items():
        assert (found[key].text, found[key].finish, found[key].tokens) == (one.text, one.finish, one.tokens)
        if one.nll is not None:
            assert found[key].nll == pytest.approx(one.nll, abs=1e-3 * (one.tokens or 0))
