"""A real vLLM server on the CPU, with the OpenAI protocol and a key."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

KEY = "sk-right"
OWN_SAMPLING = {"temperature": 0.3, "top_k": 2, "top_p": 0.5, "min_p": 0.4, "repetition_penalty": 1.9}
LOSSY = (
    "{%- if dated is defined %}{{- strftime_now('%d %b %Y') }}{% endif %}"
    "{%- if without is defined %}{% set messages = messages | rejectattr('role', 'equalto', without) | list %}{% endif %}"
)
"""A template that loses the turns of a role, or writes the date, where it is told so."""


def write_served_model(folder: Path) -> Path:
    """The toy model, with settings and a template as models on the Hub have them: a server takes them for what a request does not name."""
    from sgpo_data.toy.model import base_model

    base_model(folder)
    settings = json.loads((folder / "generation_config.json").read_bytes())
    (folder / "generation_config.json").write_text(json.dumps({**settings, "do_sample": True, **OWN_SAMPLING}))
    template = folder / "chat_template.jinja"
    template.write_text(LOSSY + template.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


@contextmanager
def vllm_serving(model: Path, folder: Path) -> Iterator[str]:
    """Its URL; it serves the model as `toy` and logs to this folder. The test is skipped where vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed")
    port = closed_port()
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "TORCH_COMPILE_DISABLE": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    flags = ["--model", str(model), "--served-model-name", "toy", "--dtype", "float32", "--max-model-len", "512", "--enforce-eager"]
    # A prompt that is read in pieces ends a CPU server if its row has a seed.
    flags += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", "4096"]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *flags, "--host", "127.0.0.1", "--port", str(port), "--api-key", KEY],
            stdout=output,
            stderr=output,
            env={**os.environ, **settings},
        )
    try:
        wait_for(port, process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=90)


def wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(3000):
        assert process.poll() is None, log.read_text()[-3000:]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.1)
    raise AssertionError(log.read_text()[-3000:])


def closed_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
