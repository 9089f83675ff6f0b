"""Claims about the evaluation of a phase: what it plans, makes, keeps and refuses."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from fake_model import FakeModel, opens
from recipe_texts import model_and_judge, run, steps_of
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.engines import Likelihood, Scored, ScoreRequest
from sgpo_data.evaluation.judge.prompt import load_prompt
from sgpo_data.evaluation.summary import evaluation_summary
from sgpo_data.execution import Execution
from sgpo_data.health.health import health
from sgpo_data.loop.folder import FROZEN
from sgpo_data.loop.gc import unused
from sgpo_data.loop.loop import run_recipe
from sgpo_data.loop.plan import plan_recipe
from sgpo_data.loop.rounds import open_run
from sgpo_data.loop.script import script
from sgpo_data.preflight.sample import sample_recipe
from sgpo_data.publishing.card import CardFacts, Config, dataset_card
from sgpo_data.publishing.card_text import evaluation_section
from sgpo_data.publishing.lineage import Lineage
from sgpo_data.publishing.model_evaluations import model_evaluations
from sgpo_data.recipe.file import parsed
from sgpo_data.report.page import page
from sgpo_data.store.dataset import open_dataset

RECIPE = """
model = "./model"

[[phases]]
name = "policy"
start_from = "recipe"
[phases.source]
path = "prompts.jsonl"
[phases.seed]
[phases.evaluate]
set = "set.json"
"""
BEFORE = """
model = "./model"

[[phases]]
name = "before"
[phases.evaluate]
set = "set.json"

[[phases]]{rest}"""
JUDGED = f"""{RECIPE}judge = "./judge"
baseline = "theirs.json"
"""


class EvenJudge(FakeModel):
    """Also finds every answer, and every label of a judge, equally likely."""

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
        for scored in super().score(requests):
            yield Scored(scored.key, tuple(Likelihood(nll=1.0, tokens=1) for _ in scored.likelihoods))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    model_and_judge(tmp_path)
    asked = [{"instruction": f"Say {number}."} for number in range(4)]
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"prompt": "Say one.", "answer": "one is said here"}) + "\n")
    (tmp_path / "set.json").write_text(json.dumps(asked))
    (tmp_path / "theirs.json").write_text(json.dumps([{**row, "output": "no", "generator": "theirs"} for row in asked]))
    return tmp_path


@pytest.fixture
def how(tmp_path: Path) -> Execution:
    return Execution(root=tmp_path / "runs", progress="none")


def test_an_evaluation_is_the_last_steps_of_its_round(place: Path, how: Execution) -> None:
    told = [f"{step.stage}: {step.link.name}" for step in steps_of(JUDGED, place, how)]
    assert told[2:] == ["evaluate questions: questions", "evaluate answers: answers", "evaluate comparisons: comparisons", "evaluate judge: evaluations"]


def test_without_a_judge_the_set_is_only_answered(place: Path, how: Execution) -> None:
    assert [step.link.name for step in steps_of(RECIPE, place, how)][2:] == ["questions", "answers"]


def test_a_phase_that_only_evaluates_asks_the_model_that_comes_in_and_changes_no_other_step(place: Path, how: Execution) -> None:
    before = BEFORE.format(rest=RECIPE.partition("[[phases]]")[2])
    steps = steps_of(before, place, how)
    assert [(step.phase, step.stage) for step in steps[:2]] == [("before", "evaluate questions"), ("before", "evaluate answers")]
    # Nothing is trained in between, so the answers are the same ones.
    assert steps[1].job.name == steps[-1].job.name
    assert [step.job.name for step in steps[2:]] == [step.job.name for step in steps_of(RECIPE, place, how)]


def test_a_run_that_begins_with_an_evaluation_reports_it_and_freezes_to_the_same_plan(place: Path, how: Execution) -> None:
    run(BEFORE.format(rest=RECIPE.partition("[[phases]]")[2]), place, how, EvenJudge())
    found = open_run("x", how.root)
    assert [each.place for each in found.rounds] == ["before-1", "policy-1"]
    assert page(found, health(found)).count("whole answers") >= 2
    frozen = how.root / "x" / FROZEN
    assert [step.job.name for step in plan_recipe(parsed(frozen.read_text(), frozen), how)][1].startswith("responses@")


def test_a_run_judges_what_it_made_and_a_second_one_asks_nobody(place: Path, how: Execution) -> None:
    model = EvenJudge()
    assert all(run(JUDGED, place, how, model))
    rows = list(open_dataset(how.root / "x" / "policy-1" / "evaluations").rows())
    assert len(rows) == 8
    again = EvenJudge()
    assert not any(run(JUDGED, place, how, again))
    assert again.asked == []


def test_a_judge_that_dies_is_asked_for_the_missing_verdicts_alone(place: Path, how: Execution) -> None:
    # One row is seeded, four are answers, four of the eight verdicts are there when it dies.
    with pytest.raises(ConnectionAbortedError, match="the model is gone"):
        run(JUDGED, place, how, EvenJudge(window=1, fail_after=9))
    after = EvenJudge(window=1)
    run(JUDGED, place, how, after)
    assert after.given == 4
    assert open_dataset(how.root / "x" / "policy-1" / "evaluations").manifest.rows == 8


def test_another_judge_leaves_the_answers_as_they_are(place: Path, how: Execution) -> None:
    first = steps_of(JUDGED, place, how)
    second = steps_of(JUDGED.replace('"./judge"', '"./model"'), place, how)
    assert [one.job.name == other.job.name for one, other in zip(first, second, strict=True)] == [True] * 5 + [False]


def test_the_frozen_recipe_holds_the_prompt_of_the_judge(place: Path, how: Execution) -> None:
    run(JUDGED, place, how, EvenJudge())
    frozen = (how.root / "x" / FROZEN).read_text()
    assert load_prompt("label").text.splitlines()[0] in frozen
    assert 'set = "../../set.json"' in frozen


def test_gc_leaves_what_an_evaluation_uses(place: Path, how: Execution) -> None:
    run(JUDGED, place, how, EvenJudge())
    assert unused(how.root) == []


def test_publishing_a_round_leaves_its_evaluation_out(place: Path, how: Execution) -> None:
    run(JUDGED, place, how, EvenJudge())
    assert [dataset.table for dataset in open_run("x", how.root).rounds[0].widest] == ["responses"]


def test_the_script_answers_and_judges_by_single_commands(place: Path, how: Execution) -> None:
    steps = steps_of(JUDGED, place, how)
    lines = [line for line in script("x.toml", steps, how).splitlines() if line.startswith("sgpo evaluate")]
    answers, verdicts = steps[3].job.name, steps[5].job.name
    assert lines[0].startswith(f"sgpo evaluate answers {place}/model --")
    assert f"--set {place}/set.json" in lines[0]
    assert " -o " not in lines[0]
    assert lines[1].startswith(f'sgpo evaluate judge "$root"/store/{answers} {place}/theirs.json --judge {place}/judge')
    assert f'-o "$root"/store/{verdicts}' in lines[1]


def test_the_single_commands_make_the_datasets_of_the_run(place: Path, how: Execution) -> None:
    steps = steps_of(JUDGED, place, how)
    root = ["--root", str(how.root), "--progress", "none"]
    answered = CliRunner().invoke(app, ["evaluate", "answers", str(place / "model"), "--set", str(place / "set.json"), *root], obj=opens(EvenJudge()))
    assert answered.stdout.strip() == str(steps[3].folder), answered.stderr
    judge = ["evaluate", "judge", str(steps[3].folder), str(place / "theirs.json"), "--judge", str(place / "judge")]
    CliRunner().invoke(app, [*judge, *root], obj=opens(EvenJudge()))
    again = EvenJudge()
    assert run(JUDGED, place, how, again)[2:] == [False] * 4
    assert len(again.asked) == 1


def test_preflight_tries_the_stages_and_evaluates_nothing(place: Path, how: Execution) -> None:
    sample = sample_recipe(parsed(JUDGED, place / "x.toml"), 4, raw=["policy"])
    assert [step.stage for step in plan_recipe(sample, how)] == ["source", "seed"]


def test_a_report_begins_with_the_evaluation(place: Path, how: Execution) -> None:
    run(JUDGED, place, how, EvenJudge())
    found = open_run("x", how.root)
    html = page(found, health(found))
    assert html.index("Did the model get better?") < html.index("<h2>The loop</h2>")
    assert "50.0\u00a0%" in html
    assert "4 of 4 pairs in both orders" in html


def test_two_runs_are_told_apart_by_their_evaluations(place: Path, how: Execution) -> None:
    run(JUDGED, place, how, EvenJudge())
    (place / "y.toml").write_text(RECIPE)
    run_recipe(place / "y.toml", how, open_model=opens(EvenJudge()))
    told = CliRunner().invoke(app, ["diff", "x", "y", "--root", str(how.root), "--json"])
    numbers = {each["number"]: each for each in json.loads(told.stdout)}
    assert numbers["whole answers"]["a"] == numbers["whole answers"]["b"]
    assert numbers["win rate"]["a"]["value"] == "50.0 %"
    assert numbers["win rate"]["b"] is None


def test_a_card_tells_the_evaluation_of_the_published_round(place: Path, how: Execution) -> None:
    run(JUDGED, place, how, EvenJudge())
    found = open_run("x", how.root)
    last = found.rounds[-1]
    assert last.answers is not None
    unknown = Lineage(datasets=(), models=(), gone=())
    facts = CardFacts("org/x", "v1", (Config("responses", last.answers),), unknown, None, None, evaluation_summary(last.datasets))
    card = dataset_card(facts)
    assert "| win rate | 50.0 % | theirs, judged by " in card
    assert str(place) not in card


def test_the_card_of_a_model_tells_what_runs_found_of_it(place: Path, how: Execution) -> None:
    run(JUDGED, place, how, EvenJudge())
    (place / "y.toml").write_text(JUDGED)
    run_recipe(place / "y.toml", how, open_model=opens(EvenJudge()))
    answers = open_dataset(how.root / "x" / "policy-1" / "answers")
    model = answers.manifest.identity.models["policy"].identity
    (found,) = model_evaluations(model, how.root)
    lines = list(evaluation_section(found, "Of this model"))
    assert lines[2] == "Of this model, on set.json. Intervals are 95 %, by a bootstrap."
    assert any(line.startswith("| win rate | 50.0 % | theirs, judged by ") for line in lines)
    assert model_evaluations("folder:other", how.root) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('judge = "./judge"', ""), "phases.1.evaluate: baseline: there is no judge to use it"),
        (('baseline = "theirs.json"', ""), "phases.1.evaluate: baseline: is the model that is evaluated"),
        (('judge = "./judge"', 'judge = "nobody"'), "phases.1.evaluate.judge: no phase before this one is called so"),
        (('set = "set.json"', 'set = "set.json"\nanswers.samples = 2'), "samples: each question is answered once"),
        (('[phases.source]\npath = "prompts.jsonl"\n[phases.seed]\n', "rounds = 2\n"), "phases.1.rounds: every round would make the same"),
        (('set = "set.json"', 'set = "other.json"'), "phases.1.evaluate: .*no such set or file"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_place(change: tuple[str, str], told: str, place: Path, how: Execution) -> None:
    with pytest.raises(Exception, match=told):
        steps_of(JUDGED.replace(*change), place, how)
