"""Claims about which engine is taken, and what it is told."""

import json
from pathlib import Path

import pytest

from sgpo_data.engines.loading import ServerLoading, WeightsLoading, Work, automatic, server_loading, weights_loading
from sgpo_data.errors import ModelError, RecipeError
from sgpo_data.names import endpoint_name
from sgpo_data.references.model import find_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 512, "dtype": "bfloat16"}))
    return tmp_path


@pytest.mark.parametrize(
    ("work", "installed", "gpu", "line"),
    [
        ("generate", False, False, "engine transformers to generate: vllm is not installed"),
        ("generate", False, True, "engine transformers to generate: vllm is not installed"),
        ("generate", True, False, "engine transformers to generate: there is no GPU"),
        ("generate", True, True, "engine vllm to generate: it is installed and there is a GPU"),
        ("score", True, True, "engine transformers to score: it computes a prompt once for all its answers, with an adapter or without"),
        ("score", False, False, "engine transformers to score: it computes a prompt once for all its answers, with an adapter or without"),
    ],
)
def test_auto_says_once_which_engine_it_takes_and_why(
    folder: Path, work: Work, installed: bool, gpu: bool, line: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sgpo_data.engines.loading.find_spec", lambda name: name if installed else None)
    monkeypatch.setattr("sgpo_data.engines.loading._gpu", lambda: gpu)
    automatic.cache_clear()
    with caplog.at_level("INFO"):
        first, second = weights_loading("auto", "auto", None, folder, work=work), weights_loading("auto", "auto", None, folder, work=work)
    automatic.cache_clear()
    assert caplog.messages == [line]
    assert first == second == WeightsLoading(engine=line.split()[1], dtype="bfloat16", context_tokens=512)
    # Frozen, it is what it was, whatever is installed.
    assert weights_loading(first.engine, first.dtype, first.context_tokens, folder, work=work) == first


def test_endpoint_is_named_in_the_reference() -> None:
    assert endpoint_name("openai:org/name") == "org/name"
    assert endpoint_name("org/name") is None
    assert endpoint_name("./openai:name") is None
    with pytest.raises(ModelError, match="no name of a model"):
        endpoint_name("openai: ")


def test_endpoint_is_asked_only_what_a_server_can_be_asked(folder: Path) -> None:
    loading = server_loading("auto", "auto", None, "m")
    assert loading == ServerLoading("openai", "m")
    assert loading.keys == {"engine": "openai", "dtype": "auto", "context_tokens": None}
    assert server_loading(loading.engine, "auto", None, "m") == loading
    for engine, dtype, context_tokens, words in (
        ("vllm", "auto", None, "engine: vllm runs model folders"),
        ("auto", "float32", None, "dtype: float32 cannot be asked of a server"),
        ("auto", "auto", 512, "context_tokens: 512 cannot be asked of a server"),
    ):
        with pytest.raises(RecipeError, match=words):
            server_loading(engine, dtype, context_tokens, "m")
    with pytest.raises(RecipeError, match="quantization: fp8 cannot be asked of a server"):
        server_loading("auto", "auto", None, "m", quantization="fp8")
    with pytest.raises(RecipeError, match="engine: openai cannot score"):
        server_loading("auto", "auto", None, "m", work="score")
    with pytest.raises(ModelError, match="an adapter cannot be given to a server"):
        find_model("openai:m", str(folder))


def test_folder_has_no_server_and_only_vllm_quantizes(folder: Path) -> None:
    with pytest.raises(RecipeError, match="engine: openai is for a model at a server"):
        weights_loading("openai", "auto", None, folder)
    with pytest.raises(RecipeError, match="quantization: fp8 is for engine vllm, and it is transformers"):
        weights_loading("transformers", "auto", None, folder, quantization="fp8")
    assert weights_loading("vllm", "auto", None, folder, quantization="fp8").quantization == "fp8"
