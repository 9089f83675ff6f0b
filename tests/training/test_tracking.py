"""Claims about experiment trackers: they are told the curves, health and evaluation, and change neither the name of what is made nor what becomes of it."""

import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from literal_rows import row
from made import made_dataset
from made_run import made_run
from tiny_model import question, write_model

from sgpo_data.errors import MissingExtraError
from sgpo_data.execution import Execution
from sgpo_data.health.tracked import round_numbers, track_run
from sgpo_data.references.model import find_model
from sgpo_data.rows import Message
from sgpo_data.store.input import input_of
from sgpo_data.training.curves import curves
from sgpo_data.training.job import TrainJob, do_train
from sgpo_data.training.options import Train
from sgpo_data.training.planning import planned_training
from sgpo_data.training.tracking import check_tracker, tensorboard_folder, track


def training(place: Path) -> TrainJob:
    start = find_model(str(write_model(place / "start")))
    rows = [
        {
            "prompt": question(f"say {number}"),
            "completion": [Message(role="assistant", content=f"yes {number}")],
            "prompt_id": f"{number:032x}",
            "sample": 0,
            "kind": "reference",
            "source": "test",
        }
        for number in range(8)
    ]
    examples = made_dataset(place / "examples", "examples", rows)
    return planned_training(Train(objective="sft", batch_rows=4, epochs=2, learning_rate=1e-3), (input_of(examples, str(examples.folder)),), start)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="tensorboard, of the extra dev, is not installed")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_is_told_the_curves_that_the_model_keeps(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="of the extra dev, is not installed")
    how = Execution(root=tmp_path / "runs", progress="none", device="cpu", report_to="tensorboard", run_name="first", project="mine")
    job = training(tmp_path)
    model = do_train(job, tmp_path / "trained", how)
    told = scalars(tmp_path / "runs" / "tensorboard" / "mine" / "first")
    loss = curves(model.folder)["loss"]
    assert [step for step, _ in told["train/loss"]] == list(loss.steps)
    assert [value for _, value in told["train/loss"]] == pytest.approx(list(loss.values), rel=1e-6)
    assert model.record.identity == f"train:{job.identity.fingerprint[:32]}"


def test_health_and_evaluation_of_each_round_go_to_a_run_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made_run(
        tmp_path, {f"policy-{number}": {"filtered": [row("a", response_tokens=10 * number), row("b", response_tokens=10 * number)]} for number in (1, 2)}
    )
    numbers = round_numbers(run)
    assert [(step, told["health/policy/response_tokens_mean"]) for step, told in numbers] == [(1, 10.0), (2, 20.0)]
    calls: list[tuple[str, object]] = []
    fake = SimpleNamespace(
        init=lambda **given: calls.append(("init", given)),
        log=lambda told, step: calls.append(("log", step)),
        finish=lambda: calls.append(("finish", None)),
    )
    monkeypatch.setitem(sys.modules, "trackio", fake)
    track_run(run, Execution(root=tmp_path, report_to="trackio", project="mine"))
    assert calls == [("init", {"project": "mine", "name": "run"}), ("log", 1), ("log", 2), ("finish", None)]
    calls.clear()
    track_run(run, Execution(root=tmp_path))
    assert calls == []


def test_a_tracker_that_fails_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def init(**_: object) -> None:
        raise ConnectionError("no key in WANDB_API_KEY")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with caplog.at_level(logging.WARNING):
        track(Execution(root=tmp_path, report_to="wandb"), "mine", [(1, {"a": 1.0})])
    assert caplog.messages == ["wandb: mine was not told: no key in WANDB_API_KEY"]


def test_a_tracker_that_is_not_installed_is_asked_for_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgpo_data.training.tracking.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"wandb is not installed; run: pip install 'sgpo-data\[wandb\]'"):
        check_tracker(Execution(report_to="wandb"))
    check_tracker(Execution())
    assert tensorboard_folder(Execution(root=tmp_path), "x") == tmp_path / "tensorboard" / "sgpo" / "x"
