"""Claims about two stages as one stream: the second begins early, and nothing else is different."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fake_model import FakeModel, model_folder, opens
from one_by_one import one_after_the_other

from sgpo_data.engines import GenerateRequest, Generation
from sgpo_data.execution import Execution
from sgpo_data.health.health import health
from sgpo_data.loop.loop import run_recipe
from sgpo_data.loop.plan import plan_recipe
from sgpo_data.loop.rounds import open_run
from sgpo_data.recipe.file import read_recipe
from sgpo_data.running.engines import Engines
from sgpo_data.running.overlap import OverlappingJobs
from sgpo_data.running.rowwise import GeneratingJob
from sgpo_data.running.stream import Lane, Overlap
from sgpo_data.store.dataset import open_dataset
from sgpo_data.store.manifest import Manifest
from sgpo_data.store.resume import take_up

PROMPTS = 40
RECIPE = """
model = "model"
[[phases]]
name = "policy"
[phases.source]
path = "prompts.jsonl"
[phases.seed]
sampling.max_tokens = 11
[phases.improve]
role = "improve"
sampling.max_tokens = 22
"""


@dataclass(frozen=True)
class Event:
    """What the model saw: a request it drew, or an answer it gave."""

    kind: str
    stage: str
    row: str


class Watched(FakeModel):
    """Answers out of order, some not at all; writes down what happens, and can be told to end or to fail."""

    def __init__(self, *, fail_after: int | None = None) -> None:
        super().__init__(window=8, fail_after=fail_after)
        self.events: list[Event] = []
        self.under_way = 0

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        stages: dict[tuple[str, int], str] = {}

        def seen() -> Iterator[GenerateRequest | None]:
            for request in requests:
                if request is None:
                    # Whoever says that there is nothing now would be waited for in vain if nothing were under way.
                    assert self.under_way
                else:
                    self.under_way += 1
                    stages[request.key] = {11: "seed", 22: "improve"}[request.sampling.max_tokens]
                    self.events.append(Event("drawn", stages[request.key], request.key[0]))
                yield request

        for answer in super().generate(seen()):
            self.under_way -= 1
            stage = stages[answer.key]
            self.events.append(Event("given", stage, answer.key[0]))
            yield replace(answer, text=None, finish="too_long") if stage == "seed" and int(answer.key[0], 16) % 5 == 0 else answer

    def rows(self, kind: str, stage: str) -> list[str]:
        return [event.row for event in self.events if (event.kind, event.stage) == (kind, stage)]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    model_folder(tmp_path / "model")
    rows = [{"prompt": f"Say {i} and no more.", "answer": f"{i}"} for i in range(PROMPTS)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "x.toml").write_text(RECIPE)
    return tmp_path / "x.toml"


def how(recipe: Path, root: str) -> Execution:
    return Execution(root=recipe.parent / root, part_rows=7, window=8, progress="none")


def manifests(recipe: Path, root: str) -> list[Manifest]:
    return [open_dataset(recipe.parent / root / "x/policy-1" / table).manifest for table in ("responses", "improved")]


def essence(recipe: Path, root: str) -> list[object]:
    """All of the manifests but when, where and how long."""
    varying = {"seconds", "created", "identity"}
    return [(manifest.model_dump(exclude=varying), manifest.identity.fields, manifest.identity.models) for manifest in manifests(recipe, root)]


@pytest.fixture
def expected(recipe: Path) -> list[object]:
    """What comes of the recipe when the second stage waits for the first."""
    model = Watched()
    one_after_the_other(recipe, how(recipe, "apart"), opens(model))
    assert [event.stage for event in model.events if event.kind == "drawn"] == sorted(event.stage for event in model.events if event.kind == "drawn")[::-1]
    return essence(recipe, "apart")


def test_improve_begins_with_the_first_responses_and_all_else_is_the_same(recipe: Path, expected: list[object]) -> None:
    model = Watched()
    ran = run_recipe(recipe, how(recipe, "runs"), open_model=opens(model))
    assert [(each.step.stage, each.made_now) for each in ran] == [("source", True), ("seed", True), ("improve", True)]
    assert essence(recipe, "runs") == expected
    first_improve = next(index for index, event in enumerate(model.events) if event.stage == "improve")
    assert sum(event.stage == "seed" for event in model.events[first_improve:]) > PROMPTS
    for row in model.rows("drawn", "improve"):
        assert model.events.index(Event("given", "seed", row)) < model.events.index(Event("drawn", "improve", row))


def test_marked_prompts_go_through_both_stages_without_the_model(recipe: Path) -> None:
    (recipe.parent / "evals.jsonl").write_text("".join(json.dumps({"prompt": f"say {i} and no more"}) + "\n" for i in (0, 7, 8, PROMPTS - 1)))
    recipe.write_text(RECIPE.replace("[phases.seed]", 'decontaminate = ["evals.jsonl"]\n[phases.seed]'))
    model = Watched()
    run_recipe(recipe, how(recipe, "runs"), open_model=opens(model))
    assert len(model.rows("drawn", "seed")) == PROMPTS - 4
    responses, improved = manifests(recipe, "runs")
    assert responses.rows == improved.rows == PROMPTS
    assert responses.outcomes["contaminated"] == 4
    assert improved.outcomes["no_response"] == 4 + responses.outcomes["too_long"]
    one_after_the_other(recipe, how(recipe, "apart"), opens(Watched()))
    assert essence(recipe, "apart") == essence(recipe, "runs")


def test_no_more_responses_than_the_window_wait_to_be_improved(recipe: Path) -> None:
    model = Watched()
    run_recipe(recipe, how(recipe, "runs"), open_model=opens(model))
    improved = set(model.rows("drawn", "improve"))
    waiting = most = 0
    for event in model.events:
        waiting += (event.kind, event.stage) == ("given", "seed") and event.row in improved
        waiting -= (event.kind, event.stage) == ("drawn", "improve")
        most = max(most, waiting)
    assert 0 < most <= model.window


@pytest.mark.parametrize("answers", range(0, 72, 9))
def test_a_run_that_broke_off_anywhere_makes_only_what_is_missing(answers: int, recipe: Path, expected: list[object]) -> None:
    failing = Watched(fail_after=answers)
    with pytest.raises(ConnectionAbortedError):
        run_recipe(recipe, how(recipe, "runs"), open_model=opens(failing))
    rest = Watched()
    run_recipe(recipe, how(recipe, "runs"), open_model=opens(rest))
    assert essence(recipe, "runs") == expected
    for stage in ("seed", "improve"):
        given = failing.rows("given", stage)
        assert not set(given) & set(rest.rows("drawn", stage))
        assert len(given) + len(rest.rows("drawn", stage)) == len(set(given + rest.rows("drawn", stage)))
    assert len(failing.rows("drawn", "seed")) + len(failing.rows("drawn", "improve")) <= answers + failing.window
    assert failing.closed


@pytest.mark.parametrize("answers", [3, 25])
def test_responses_of_a_seed_that_broke_off_by_itself_are_improved_first(answers: int, recipe: Path, expected: list[object]) -> None:
    with pytest.raises(ConnectionAbortedError):
        one_after_the_other(recipe, how(recipe, "runs"), opens(Watched(fail_after=answers)))
    rest = Watched()
    run_recipe(recipe, how(recipe, "runs"), open_model=opens(rest))
    assert essence(recipe, "runs") == expected
    kinds = [event.stage for event in rest.events if event.kind == "drawn"]
    assert kinds[0] == "improve"
    assert kinds.index("seed") == sum(int(row, 16) % 5 != 0 for row in made_by(recipe, answers))
    assert kinds.count("seed") == PROMPTS - answers


def made_by(recipe: Path, answers: int) -> list[str]:
    """The rows that the model answers first, by their order in the dataset and the turns of its window."""
    ids = open_dataset(recipe.parent / "runs/x/policy-1/prompts").scan().collect()["prompt_id"].to_list()
    turns = [row for start in range(0, PROMPTS, 8) for row in reversed(ids[start : start + 8])]
    return turns[:answers]


def test_the_first_dataset_is_finished_while_the_second_is_being_made(recipe: Path) -> None:
    whole = []

    class Looking(Watched):
        def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
            for answer in super().generate(requests):
                yield answer
                (folder,) = (recipe.parent / "runs/store").glob("responses@*")
                whole.append((folder / "manifest.json").is_file())

    fake = Looking()
    run_recipe(recipe, how(recipe, "runs"), open_model=opens(fake))
    assert whole.index(True) < len(whole) - 1
    assert whole == sorted(whole)


def test_the_time_of_both_is_shared_among_them(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    class Slow(Watched):
        """An answer takes a second, of improve two."""

        def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
            nonlocal now
            for answer in super().generate(requests):
                now += 2 if self.events[-1].stage == "improve" else 1
                yield answer

    model = Slow()
    source, *steps = plan_recipe(read_recipe(recipe), how(recipe, "runs"))
    with closing(Engines(how(recipe, "runs"))) as engines:
        source.job.make(source.folder, how(recipe, "runs"), engines)
    prompts = open_dataset(source.folder)
    with ExitStack() as stack:
        jobs = OverlappingJobs.of(*(step.job for step in steps))
        assert jobs is not None
        first, second = (_lane(job, step.folder, stack) for job, step in zip((jobs.first, jobs.second), steps, strict=True))
        Overlap(first, second, prompts.rows(), clock=lambda: now).stream(lambda: model, first_whole=lambda: None)
        seconds = [lane.into.shared_seconds for lane in (first, second)]
    assert seconds == [2 * len(model.rows("given", "improve")), PROMPTS]


def _lane(job: GeneratingJob, folder: Path, stack: ExitStack) -> Lane:
    into = stack.enter_context(take_up(folder, job.identity, table=job.writes, part_rows=7))
    assert into is not None
    return Lane(job.stage, into, job.author, lambda rows, tokens: None)


def test_another_model_improves_after_the_first(recipe: Path) -> None:
    other = model_folder(recipe.parent / "other")
    (other / "tokenizer.json").write_text("{}")
    recipe.write_text(RECIPE.replace('name = "policy"', 'name = "policy"\nimprover = "other"'))
    model = Watched()
    run_recipe(recipe, how(recipe, "runs"), open_model=opens(model))
    drawn = [event.stage for event in model.events if event.kind == "drawn"]
    assert drawn == sorted(drawn)[::-1]


def test_a_dataset_is_seen_as_soon_as_it_is_whole_while_the_run_goes_on(recipe: Path) -> None:
    root = recipe.parent / "runs"
    seen: list[tuple[int, tuple[str, ...], str | None]] = []

    class Looking(Watched):
        def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
            for answer in super().generate(requests):
                if (whole := root / "x/policy-1/responses/manifest.json").is_file() and not seen:
                    assert whole.parent.is_symlink()
                    (found,) = open_run("x", root).rounds
                    (measured,) = health(open_run("x", root)).rounds
                    lengths = next(each for each in measured.findings if each.measure.name == "response_tokens_mean")
                    seen.append((measured.rows, found.missing, lengths.why))
                yield answer

    run_recipe(recipe, how(recipe, "runs"), open_model=opens(Looking()))
    assert seen == [(PROMPTS, ("improved",), None)]
