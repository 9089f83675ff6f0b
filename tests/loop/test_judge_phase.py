"""Claims about the judge of a phase: it stands where a reward model would, and its verdicts are rows that are asked for once."""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from fake_model import FakeModel, opens
from literal_rows import prompt_id
from made import made_dataset
from recipe_texts import model_and_judge, run, steps_of
from sgpo_data.cli.main import app
from typer.testing import CliRunner

import sgpo_data
from sgpo_data.engines import GenerateRequest, Generation, Likelihood, Scored, ScoreRequest
from sgpo_data.errors import RecipeError
from sgpo_data.evaluation.judge.stage import Judge
from sgpo_data.execution import Execution
from sgpo_data.health.health import health
from sgpo_data.health.preference import AnsweredTwice, judged_wins
from sgpo_data.health.probe import HeldOutPrompt, ModelAnswer
from sgpo_data.loop.plan import ReferenceCache
from sgpo_data.loop.remade import remade
from sgpo_data.loop.rounds import open_run
from sgpo_data.loop.script import script
from sgpo_data.preflight.answers import answer_checks
from sgpo_data.preflight.check import Check
from sgpo_data.preflight.sample import Sampled, make_sample, sample_recipe
from sgpo_data.recipe.file import parsed
from sgpo_data.references.model import find_model
from sgpo_data.running.engines import Engines
from sgpo_data.store.dataset import open_dataset
from sgpo_data.store.guard import Wins

ROWS = 24
RECIPE = """
model = "./model"

[[phases]]
name = "policy"
judge = "./judge"
[phases.source]
path = "prompts.jsonl"
[phases.seed]
[phases.improve]
[phases.score-ppl]
[phases.filter]
gates.min_edit = 0
gates.max_edit = 1
gates.min_edited_words = 0
gates.max_length_ratio = 1000
gates.max_repetition = 1
ppl.strategy = "margin"
ppl.margin.low = 0.1
[phases.pair]
"""


class LongerJudge(FakeModel):
    """As a judge, finds the longer answer better where the question is even, and tells nothing apart where it is odd; a rewrite is longer than its draft."""

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        for answer in super().generate(requests):
            text = answer.text or ""
            number = text.split("Say ")[-1].split(".")[0]
            rewritten = "Rewrite" in text or "mprove" in text
            yield Generation(answer.key, f"Say {number}. {'it is longer ' * 8 if rewritten else 'short'} {answer.key[0][:4]}", "stop", nll=1.0, tokens=9)

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
        asked = list(requests)
        shown = {request.key: request.messages[-1]["content"] for request in asked}
        for scored in super().score(iter(asked)):
            if scored.key[2] != "judge":
                yield scored
                continue
            first, second = shown[scored.key].split("### Answer of model x")[1].split("### Answer of model y")
            odd = int(first.split("Say ")[1].split(".")[0]) % 2
            better = 0 if len(first) > len(second.split("### Verdict")[0]) else 1
            nlls = (0.7, 0.7) if odd else (0.2, 2.0) if better == 0 else (2.0, 0.2)
            yield Scored(scored.key, tuple(Likelihood(nll=nll, tokens=1) for nll in nlls))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    model_and_judge(tmp_path)
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"Say {n}.", "answer": f"{n} is said here"}) + "\n" for n in range(ROWS)))
    return tmp_path


@pytest.fixture
def how(tmp_path: Path) -> Execution:
    return Execution(root=tmp_path / "runs", progress="none")


def test_a_judge_is_two_steps_before_the_filter_and_reads_what_improve_wrote(place: Path, how: Execution) -> None:
    steps = steps_of(RECIPE, place, how)
    assert [f"{step.stage}: {step.link.name}" for step in steps[3:6]] == ["score-ppl: scored", "evaluate comparisons: rewrites", "evaluate judge: verdicts"]
    assert steps[4].job.inputs[0].folder == steps[2].folder
    assert [given.folder for given in steps[6].job.inputs] == [steps[3].folder, steps[5].folder]
    other = steps_of(RECIPE.replace("[phases.score-ppl]", "[phases.score-ppl]\ncontext_tokens = 400"), place, how)
    assert [one.job.name == two.job.name for one, two in zip(steps, other, strict=True)] == [True] * 3 + [False] + [True] * 2 + [False] * 2


def test_a_run_keeps_what_the_judge_prefers_and_asks_no_verdict_again(place: Path, how: Execution) -> None:
    assert all(run(RECIPE, place, how, LongerJudge()))
    made = open_dataset(how.root / "x" / "policy-1" / "filtered")
    assert made.manifest.outcomes == {"kept": ROWS // 2, "margin": ROWS // 2}
    assert open_dataset(how.root / "x" / "policy-1" / "verdicts").manifest.rows == 2 * ROWS
    again = LongerJudge()
    looser = RECIPE.replace("margin.low = 0.1", "margin.low = 0.0")
    assert run(looser, place, how, again) == [False] * 6 + [True, True]
    assert again.asked == []
    preferred = "avg(CASE first WHEN 'improved' THEN first_score ELSE 1 - first_score END)"
    verdicts = sgpo_data.sql(f"SELECT phase, round, count(*), {preferred} FROM verdicts GROUP BY ALL", run="x", root=how.root).fetchall()
    # Two nats against 0.2 where the question is even, as likely as not where it is odd.
    assert verdicts == [("policy", 1, 2 * ROWS, pytest.approx((1 / (1 + math.exp(-1.8)) + 0.5) / 2))]
    (finding,) = [each for each in health(open_run("x", how.root)).rounds[0].findings if each.measure.name == "preferred"]
    assert finding.value == pytest.approx(0.75)
    assert finding.verdict == "fine"


def test_the_script_asks_the_judge_and_filters_by_its_verdicts(place: Path, how: Execution) -> None:
    steps = steps_of(RECIPE + "\n", place, how)
    lines = script("x.toml", steps, how).splitlines()
    (asks,) = [line for line in lines if line.startswith("sgpo evaluate")]
    assert asks.startswith(f'sgpo evaluate judge "$root"/store/{steps[2].job.name} --judge {place}/judge')
    (filters,) = [line for line in lines if line.startswith("sgpo filter")]
    assert filters.startswith(f'sgpo filter "$root"/store/{steps[3].job.name} --verdicts "$root"/store/{steps[5].job.name} ')


def test_the_single_commands_make_the_datasets_of_the_run(place: Path, how: Execution) -> None:
    run(RECIPE, place, how, LongerJudge())
    steps, root = steps_of(RECIPE, place, how), ["--root", str(how.root / "other"), "--progress", "none"]
    judge = ["evaluate", "judge", str(steps[2].folder), "--judge", str(place / "judge"), "-o", str(place / "v"), *root]
    assert CliRunner().invoke(app, judge, obj=opens(LongerJudge())).exit_code == 0
    assert open_dataset(place / "v").manifest.fingerprint == steps[5].job.identity.fingerprint
    manifests = [open_dataset(step.folder).manifest for step in steps[1:]]
    again = remade(manifests, [], how)
    assert {step.job.identity.fingerprint for step in again} >= {step.job.identity.fingerprint for step in steps[1:]}
    assert "--verdicts" in script("hub", again, how)


def test_verdicts_that_are_there_are_read_where_they_lie(place: Path, how: Execution) -> None:
    made_dataset(place / "votes", "evaluations", [{"prompt_id": prompt_id("p"), "sample": 0, "messages": [{"role": "user", "content": "q"}]}])
    steps = steps_of(RECIPE.replace('"./judge"', '"./votes"'), place, how)
    assert [step.link.name for step in steps] == ["prompts", "responses", "improved", "scored", "filtered", "pairs"]
    assert steps[4].job.inputs[1].folder == place / "votes"


def checks(text: str, place: Path, how: Execution, model: FakeModel) -> dict[str, Check]:
    recipe, known, engines = sample_recipe(parsed(text, place / "x.toml"), ROWS, raw=["policy"]), ReferenceCache(), Engines(how, open_model=opens(model))
    sampled: list[Sampled] = list(make_sample(recipe, how, known=known, engines=engines))
    return {each.name: each for each in answer_checks(sampled[0])}


class RubbishJudge(LongerJudge):
    """Finds neither label likely."""

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
        for scored in super().score(requests):
            yield scored if scored.key[2] != "judge" else Scored(scored.key, (Likelihood(nll=9.0, tokens=1), Likelihood(nll=9.0, tokens=1)))


class FirstJudge(LongerJudge):
    """Prefers the first answer."""

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
        for scored in super().score(requests):
            yield scored if scored.key[2] != "judge" else Scored(scored.key, (Likelihood(nll=0.01, tokens=1), Likelihood(nll=5.0, tokens=1)))


def test_preflight_tells_whether_rewrites_are_better_and_whether_the_judge_can_be_believed(place: Path, how: Execution) -> None:
    found = checks(RECIPE, place, how, LongerJudge())
    assert found["refine makes better (policy)"].number == pytest.approx(0.75)
    assert found["refine makes better (policy)"].verdict == "pass"
    assert found["judge gives verdicts (policy)"].number == 1
    assert found["judge prefers the first answer (policy)"].verdict == "pass"
    blind = checks(RECIPE, place, Execution(root=how.root / "blind", progress="none"), FirstJudge())
    assert blind["judge prefers the first answer (policy)"].verdict == "fail"
    assert blind["refine makes better (policy)"].number == 0.5
    rubbish = checks(RECIPE, place, Execution(root=how.root / "rubbish", progress="none"), RubbishJudge())
    assert (rubbish["judge gives verdicts (policy)"].verdict, rubbish["judge gives verdicts (policy)"].number) == ("fail", 0)
    assert f"{2 * ROWS} unparsed" in rubbish["judge gives verdicts (policy)"].advice


def test_a_judge_tells_how_often_the_trained_model_answers_better(place: Path, how: Execution) -> None:
    prompts = [HeldOutPrompt(prompt_id(str(n)), [{"role": "user", "content": f"Say {n}."}], None) for n in range(4)]
    before = {each.prompt_id: ModelAnswer(f"Say {at}.", 1, cut=False) for at, each in enumerate(prompts)}
    after = {each.prompt_id: ModelAnswer(f"Say {at}. longer", 1, cut=False) for at, each in enumerate(prompts)}
    engines, judge = Engines(how, open_model=opens(LongerJudge())), find_model(str(place / "judge"))
    assert judged_wins(Judge(), judge, AnsweredTwice(prompts, before, after), how, engines) == Wins(compared=4, won=2, lost=0)
    assert judged_wins(Judge(), judge, AnsweredTwice(prompts, after, before), how, engines) == Wins(compared=4, won=0, lost=2)
    assert judged_wins(Judge(), judge, AnsweredTwice(prompts, after, after), how, engines) == Wins(compared=4, won=0, lost=0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('judge = "./judge"', 'judge = "nobody"'), "phases.1.judge: no phase before this one is called so"),
        (('judge = "./judge"', 'judge = "./judge"\nreward_model = "./judge"'), "phases.1.judge: the reward model says already what is better"),
        (('judge = "./judge"', ""), "phases.1.filter.ppl.strategy: margin reads rewards .*name a reward_model or judge"),
        (('judge = "./judge"', 'verdicts.prompt = "grade"'), "phases.1.verdicts: there is no judge to give them"),
        (('judge = "./judge"', 'judge = "./judge"\nverdicts.prompt = "no"'), "no such prompt; give label or grade"),
    ],
)
def test_a_judge_that_makes_no_sense_is_told_with_its_place(change: tuple[str, str], told: str, place: Path, how: Execution) -> None:
    with pytest.raises(RecipeError, match=told):
        steps_of(RECIPE.replace(*change), place, how)
