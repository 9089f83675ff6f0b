"""Claims about several copies of a model: they are one engine, and none outlives the process that started it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_model import question, sampled, write_model

from sgpo_data.engines import GenerateRequest, Sampling, ScoreRequest
from sgpo_data.engines.copies.replicas import Replicas
from sgpo_data.engines.loading import WeightsLoading
from sgpo_data.engines.opening import open_engine
from sgpo_data.errors import EngineError, MissingExtraError, ModelError
from sgpo_data.execution import Execution

USUAL = Sampling(temperature=0.7, top_p=0.9, max_tokens=24)
LOADING = WeightsLoading(engine="transformers", dtype="float32", context_tokens=128)
HOW = Execution(data_parallel=2, window=9, device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def copies(folder: Path) -> Iterator[Replicas]:
    engine = Replicas.start(LOADING, folder, adapter=None, how=HOW)
    yield engine
    engine.close()


def requests(rows: int) -> list[GenerateRequest]:
    return [GenerateRequest((f"p{row}", 0), question("is the list " + "in " * (row * 5 % 17)), row, USUAL) for row in range(rows)]


def test_rows_are_those_of_one_copy(copies: Replicas, folder: Path) -> None:
    asked = [*requests(40), GenerateRequest(("long", 0), question("is " * 200), 1, USUAL)]
    scores = [ScoreRequest((f"p{row}", 0, "policy"), question("the " * row), ("the list", "is")) for row in range(30)]
    one = open_engine(LOADING, folder, adapter=None, how=Execution(device="cpu"))
    expected = {each.key: each for each in one.generate(asked)}
    likely = {each.key: each.likelihoods for each in one.score(scores)}
    one.close()
    found = {each.key: each for each in copies.generate(asked)}
    assert {key: (each.text, each.finish, each.tokens) for key, each in found.items()} == {
        key: (each.text, each.finish, each.tokens) for key, each in expected.items()
    }
    for scored in copies.score(scores):
        assert [each.nll for each in scored.likelihoods] == pytest.approx([each.nll for each in likely.pop(scored.key)], rel=1e-4)
    assert not likely


def test_both_copies_work_on_one_window_and_wait_for_what_is_not_there_yet(copies: Replicas) -> None:
    drawn = 0
    held: list[GenerateRequest] = []
    most = []

    def source() -> Iterator[GenerateRequest | None]:
        nonlocal drawn
        for request in requests(20):
            drawn += 1
            most.append(max(copy.under_way for copy in copies._copies))
            yield request
        # The rest is there only once all of these have come back.
        while len(held) < 20:
            yield None
        yield from held

    answered = 0
    for one in copies.generate(source()):
        answered += 1
        assert drawn - answered <= 9
        if one.key[1] == 0:
            held.append(replace(requests(20)[int(one.key[0][1:])], key=(one.key[0], 1)))
    assert answered == 40
    assert max(most) <= 5


def test_a_stream_that_is_dropped_leaves_the_copies_usable(copies: Replicas) -> None:
    stream = copies.generate(sampled(requests(30), USUAL))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert sorted(one.key for one in copies.generate(requests(12))) == sorted(request.key for request in requests(12))


def test_what_a_copy_can_not_do_is_said_as_without_copies(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=f"^{tmp_path}: no weights"):
        Replicas.start(LOADING, tmp_path, adapter=None, how=HOW)
    with pytest.raises(EngineError, match=r"^device cuda:1: --data-parallel takes the GPUs that are visible; set CUDA_VISIBLE_DEVICES"):
        Replicas.start(LOADING, folder, adapter=None, how=HOW.model_copy(update={"device": "cuda:1"}))


def test_copies_have_gpus_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from sgpo_data.engines.copies.replicas import _devices

    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert _devices(Execution(data_parallel=4), 4) == ["0", "1", "2", "3"]
    assert _devices(Execution(data_parallel=2, tensor_parallel=2), 2) == ["0,1", "2,3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,GPU-8a,7")
    assert _devices(Execution(data_parallel=3), 3) == ["4", "5", "GPU-8a"]
    with pytest.raises(EngineError, match="--data-parallel 3: needs 6 GPUs, and 4 can be seen"):
        _devices(Execution(data_parallel=3, tensor_parallel=2), 3)


def _killed(engine: Replicas) -> None:
    for _ in engine.generate(requests(200)):
        engine._copies[0].process.kill()


def test_a_copy_that_is_killed_ends_the_stream_in_one_line(folder: Path) -> None:
    engine = Replicas.start(LOADING, folder, adapter=None, how=HOW)
    with pytest.raises(EngineError, match=r"^a copy of the model has ended \(killed by signal 9, maybe for memory\); the same command goes on from here$"):
        _killed(engine)
    processes = [copy.process for copy in engine._copies]
    engine.close()
    assert all(process.poll() is not None for process in processes)
    with pytest.raises(EngineError, match="the engine is closed"):
        engine.generate(requests(1))


def test_an_error_of_a_copy_crosses_to_this_process_whole() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(MissingExtraError("vllm", "vllm")))
    assert isinstance(error, MissingExtraError)
    assert str(error) == "vllm is not installed; run: pip install 'sgpo-data[vllm]'"
