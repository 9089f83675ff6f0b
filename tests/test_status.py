"""Claims about the status file: what is being made and how far it is, whole at any moment, and how a run ended."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from fake_model import model_folder, opens
from two_by_two import UNTRAINED, Plain

from sgpo_data.engines import GenerateRequest, Generation
from sgpo_data.execution import Execution
from sgpo_data.loop.loop import run_recipe
from sgpo_data.progress import progress


def test_rows_done_rate_and_time_left_are_kept_a_second_at_most_after_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, path = [100.0], tmp_path / "status.json"
    monkeypatch.setattr("sgpo_data.progress.monotonic", lambda: clock[0])
    kept = []
    with progress({"seed": 1000, "improve": 1000}, style="none", status=path) as (seed, _):
        for clock[0], done in [(100.0, 500), (100.5, 510), (120.0, 600), (120.5, 1000)]:
            seed(done, done * 60)
            kept.append(json.loads(path.read_text()))
    own = [each["stages"][0] for each in kept]
    assert [each["rows_done"] for each in own] == [500, 500, 600, 1000]
    assert own[2] == {"stage": "seed", "rows_done": 600, "rows": 1000, "rows_per_second": 5.0, "tokens_per_second": 300.0, "seconds_left": 80.0}
    assert own[3]["seconds_left"] == 0.0
    assert kept[0]["stages"][1] == {"stage": "improve", "rows_done": 0, "rows": 1000}
    assert {each["state"] for each in kept} == {"running"}
    assert [each.name for each in tmp_path.iterdir()] == ["status.json"]


class Watched(Plain):
    """Looks into the file of the run at every answer, and breaks on the third if it is to."""

    seen: list[dict[str, object]]
    breaks = False

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        for answer in super().generate(requests):
            self.seen.append(json.loads(self.path.read_text()))
            if self.breaks and len(self.seen) == 3:
                raise RuntimeError("the model broke")
            yield answer

    path: Path


def model_of(root: Path, *, breaks: bool = False) -> Watched:
    model = Watched()
    model.seen, model.breaks, model.path = [], breaks, root / "x" / "status.json"
    return model


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    model_folder(tmp_path / "model")
    rows = [{"prompt": f"Say {i} and no more.", "answer": f"{i} is what I say, and no more than that is said here."} for i in range(30)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "x.toml").write_text(UNTRAINED)
    return tmp_path / "x.toml"


def test_a_run_says_what_it_is_making_and_that_it_is_done(recipe: Path, tmp_path: Path) -> None:
    model = model_of(tmp_path / "runs")
    steps = run_recipe(recipe, Execution(root=tmp_path / "runs", progress="none"), open_model=opens(model))
    first, done = model.seen[0], json.loads(model.path.read_text())
    assert {key: first[key] for key in ("phase", "round", "stage", "steps", "state")} == {
        "phase": "improver", "round": 1, "stage": "seed", "steps": len(steps), "state": "running",
    }  # fmt: skip
    assert (done["state"], done["step"], done["error"]) == ("done", len(steps), None)


def test_a_run_that_breaks_says_why(recipe: Path, tmp_path: Path) -> None:
    model = model_of(tmp_path / "runs", breaks=True)
    with pytest.raises(RuntimeError):
        run_recipe(recipe, Execution(root=tmp_path / "runs", progress="none"), open_model=opens(model))
    stopped = json.loads(model.path.read_text())
    assert (stopped["state"], stopped["phase"]) == ("stopped", "improver")
    assert "broke" in stopped["error"]


def test_a_disk_that_does_not_take_the_file_does_not_stop_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with progress({"seed": 10}, style="none", status=tmp_path / "file" / "status.json") as (report,):
        report(10, 10)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
