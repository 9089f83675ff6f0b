import importlib.util
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice

import pyarrow as pa
import pytest
from fuzzing import INPUTS, changed, hold_both, numbered, refused, written
from tiny_model import question

from sgpo_data.engines import GenerateRequest, Generation, Sampling
from sgpo_data.engines.server.completion import NoCompletionError, ServerFailureError, completion
from sgpo_data.schema import schema

if importlib.util.find_spec("openai") is None:
    pytest.skip("openai is not installed", allow_module_level=True)

ENTRY = {"token": "x", "logprob": -0.25, "bytes": None, "top_logprobs": []}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "A brush."}, "logprobs": {"content": [ENTRY, ENTRY]}, "finish_reason": "stop"}
WHOLE = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [CHOICE], "usage": {"completion_tokens": 2}}
REFUSAL = {"error": {"message": "too long", "type": "x", "param": "seed", "code": None}}


class AnyAnswer(ThreadingHTTPServer):
    """Answers with the status and the bytes it is told next."""

    daemon_threads = True
    status = 200
    body = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: AnyAnswer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, b"anything at all")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(self.server.status, self.server.body)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if status != 204 else b"")


@contextmanager
def any_answer() -> Iterator[AnyAnswer]:
    server = AnyAnswer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[AnyAnswer]:
    with any_answer() as found:
        yield found


def answered(server: AnyAnswer, status: int, body: bytes) -> Generation:
    from sgpo_data.engines.server.openai import OpenAIEngine

    server.status, server.body = status, body
    engine = OpenAIEngine.connect("m", base_url=server.url, key_variable="NO_KEY", window=1, request_seconds=10, attempts=0)
    try:
        (found,) = engine.generate([GenerateRequest(("p", 0), question("Name a tool."), seed=1, sampling=Sampling())])
    finally:
        engine.close()
    return found


def fits_the_table(found: Generation) -> bool:
    """Whether the row can be written, and read back by the rules of its table."""
    import duckdb

    row = dict.fromkeys(schema("responses").column_names)
    row |= {"prompt_id": "0" * 32, "messages": question("Name a tool."), "source": "s", "count": 1, "sample": 0, "policy": "m"}
    row |= {"response": found.text, "finish": found.finish, "sampled_nll": found.nll, "sampled_tokens": found.tokens}
    with duckdb.connect() as con:
        schema("responses").check(con.from_arrow(pa.Table.from_pylist([row], schema=schema("responses").arrow)), place="here")
    return True


def test_every_body_is_a_completion_or_says_what_it_is_instead() -> None:
    refusals: list[str | None] = []
    for rng in numbered("bodies"):
        body = written(rng, changed(rng, WHOLE))
        try:
            completion(body)
        except (NoCompletionError, ServerFailureError) as error:
            refusals.append(str(error))
            assert refusals[-1]
        else:
            refusals.append(None)
    hold_both(refusals)


def test_every_answer_of_a_server_is_a_row_or_one_line(server: AnyAnswer) -> None:
    from sgpo_data.engines.server.openai import OpenAIEngine

    engine = OpenAIEngine.connect("m", base_url=server.url, key_variable="NO_KEY", window=1, request_seconds=10, attempts=0)
    request = GenerateRequest(("p", 0), question("Name a tool."), seed=1, sampling=Sampling())
    rows: dict[str, Generation] = {}
    lines: list[str | None] = []
    # To ask takes as long as to read eight bodies.
    for rng in islice(numbered("server answers"), INPUTS // 8):
        server.status = rng.choice((200, 200, 200, 200, 200, 200, 200, 201, 204, 302, 400, 404, 413, 422, 429, 500))
        server.body = written(rng, changed(rng, WHOLE if server.status < 300 else REFUSAL))
        found: list[Generation] = []
        line = refused(lambda found=found: found.extend(engine.generate([request])))  # type: ignore[misc]
        lines.append(line)
        if line is None:
            rows[f"{found[0].finish} {found[0].text is None} {found[0].nll is None} {found[0].tokens}"] = found[0]
    engine.close()
    hold_both(lines)
    assert {row.finish for row in rows.values()} == {"stop", "empty", "refused", "too_long"}
    assert len({*lines}) > 20
    assert all(map(fits_the_table, rows.values()))


PICTURE = {"type": "image_url", "image_url": {"url": "data:"}}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("A brush.", "A brush."),
        ([{"type": "text", "text": "A "}, {"type": "text", "text": "brush."}], "A brush."),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "A brush."}], "A brush."),
        (["A ", "brush."], "A brush."),
        ([], ""),
        (None, ""),
        ([{"type": "text", "text": "A brush."}, PICTURE], None),
        ([PICTURE], None),
        ([7], None),
        ("\ud800", None),
    ],
)
def test_content_is_text_or_its_parts_together_or_a_row_that_is_refused(content: object, text: str | None, server: AnyAnswer) -> None:
    body = {**WHOLE, "choices": [{**CHOICE, "message": {"role": "assistant", "content": content}}]}
    found = answered(server, 200, json.dumps(body).encode())
    assert found.text == text
    assert found.finish == ("refused" if text is None else "stop" if text else "empty")


@pytest.mark.parametrize(
    ("logprobs", "usage", "nll", "tokens"),
    [
        ({"content": [ENTRY, ENTRY]}, {"completion_tokens": 2}, 0.5, 2),
        ({"content": [ENTRY, ENTRY]}, {"completion_tokens": 2.0}, 0.5, 2),
        ({"content": [ENTRY, ENTRY]}, {"completion_tokens": "2"}, None, None),
        ({"content": [ENTRY, ENTRY]}, {"completion_tokens": True}, None, None),
        ({"content": [ENTRY, ENTRY]}, {"completion_tokens": -2}, None, None),
        ({"content": [ENTRY, ENTRY]}, {"completion_tokens": 10**30}, None, None),
        ({"content": [ENTRY, ENTRY]}, [2], None, None),
        ({"content": [ENTRY, ENTRY]}, None, None, None),
        ({"content": [ENTRY]}, {"completion_tokens": 2}, None, 2),
        ({"content": [ENTRY, {**ENTRY, "logprob": None}]}, {"completion_tokens": 2}, None, 2),
        ({"content": [ENTRY, {**ENTRY, "logprob": float("-inf")}]}, {"completion_tokens": 2}, None, 2),
        ({"content": [ENTRY, {**ENTRY, "logprob": float("nan")}]}, {"completion_tokens": 2}, None, 2),
        ({"content": [ENTRY, {**ENTRY, "logprob": "-1"}]}, {"completion_tokens": 2}, None, 2),
        ({"content": [ENTRY, {**ENTRY, "logprob": 3.0}]}, {"completion_tokens": 2}, None, 2),
        ({"content": [{**ENTRY, "logprob": 1e-6}]}, {"completion_tokens": 1}, 0.0, 1),
        ({"content": [ENTRY, None]}, {"completion_tokens": 2}, None, 2),
        ({"content": 7}, {"completion_tokens": 2}, None, 2),
        ("none", {"completion_tokens": 2}, None, 2),
    ],
)
def test_a_count_or_a_log_probability_of_the_wrong_kind_is_null(
    logprobs: object, usage: object, nll: float | None, tokens: int | None, server: AnyAnswer
) -> None:
    found = answered(server, 200, json.dumps({**WHOLE, "usage": usage, "choices": [{**CHOICE, "logprobs": logprobs}]}).encode())
    assert (found.text, found.nll, found.tokens) == ("A brush.", nll, tokens)
    assert fits_the_table(found)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (204, b"", "no chat completion but nothing"),
        (200, b"", "no chat completion but nothing"),
        (200, b"<html>", 'not JSON (got "<html>")'),
        (200, b'{"choices": [', "not JSON"),
        (200, b'{"choices": "\xff"}', "not UTF-8: byte 0xff at byte 14"),
        (200, b"[" * 100_000, "nested too deeply"),
        (200, b"null", "not an object (got null)"),
        (200, b'{"choices": []}', "no choices (got [])"),
        (200, b'{"choices": [7]}', "no choices (got [7])"),
        (200, b'{"choices": [{"message": "A brush."}]}', 'the message is no object (got "A brush.")'),
        (200, b'{"choices": [{"message": {"content": 7}}]}', "the content is no text (got 7)"),
        (200, b'{"choices": [{"message": {"content": {"a": 1}}}]}', 'the content is no text (got {"a": 1})'),
        (200, b'{"error": {"message": "no\\u001b[31m room"}}', r"answered with an error (no\x1b[31m room)"),
        (302, b"", "cannot be used (302"),
    ],
)
def test_what_is_no_completion_is_one_line_that_says_what_it_is(status: int, body: bytes, words: str, server: AnyAnswer) -> None:
    line = refused(lambda: answered(server, status, body))
    assert line is not None
    assert line.startswith(server.url)
    assert words in line


def test_a_message_without_content_is_an_empty_answer(server: AnyAnswer) -> None:
    for message in (None, {}, {"role": "assistant", "content": None, "reasoning_content": "Hm."}):
        found = answered(server, 200, json.dumps({**WHOLE, "choices": [{**CHOICE, "message": message}]}).encode())
        assert (found.text, found.finish) == ("", "empty")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "stop"), ("STOP", "stop"), ("eos", "stop"), ("end_turn", "stop"), (None, "stop"),
        ("length", "length"), ("model_length", "length"), ("MAX_TOKENS", "length"),
        ("content_filter", "refused"), ("SAFETY", "refused"), ("sensitive", "refused"), ("tool_calls", "refused"),
    ],
)  # fmt: skip
def test_an_answer_that_was_cut_or_withheld_is_not_a_whole_one_whatever_the_server_calls_that(reason: str | None, finish: str, server: AnyAnswer) -> None:
    found = answered(server, 200, json.dumps({**WHOLE, "choices": [{**CHOICE, "finish_reason": reason}]}).encode())
    assert found.finish == finish


@pytest.mark.parametrize("reason", ["abort", "error", "insufficient_system_resource", "network_error"])
def test_an_answer_that_the_server_broke_off_is_asked_again_by_the_same_command(reason: str, server: AnyAnswer) -> None:
    line = refused(lambda: answered(server, 200, json.dumps({**WHOLE, "choices": [{**CHOICE, "finish_reason": reason}]}).encode()))
    assert line is not None
    assert f"the server broke off an answer ({reason}); the same command goes on from here" in line


@pytest.mark.parametrize(
    ("status", "words", "finish"),
    [
        (422, "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000", "too_long"),
        (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens", "too_long"),
        (400, "the request exceeds the available context size, try increasing it", "too_long"),
        (400, "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).", "too_long"),
        (400, "This model's maximum prompt length is 131072 but the request contains 200000 tokens.", "too_long"),
        (400, "prompt is too long: 200001 tokens > 200000 maximum", "too_long"),
        (400, "The response was filtered due to the prompt triggering the content management policy", "refused"),
        (403, "Your input was flagged", "refused"),
    ],
)
def test_what_servers_say_of_one_prompt_is_a_row(status: int, words: str, finish: str, server: AnyAnswer) -> None:
    assert answered(server, status, json.dumps({"error": {"message": words, "code": status}}).encode()).finish == finish


def test_a_key_that_is_refused_is_not_taken_for_a_prompt(server: AnyAnswer) -> None:
    line = refused(lambda: answered(server, 403, b'{"error": {"message": "Forbidden"}}'))
    assert line is not None
    assert "the key of environment variable NO_KEY is not set (403)" in line
