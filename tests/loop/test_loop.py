"""Claims about the loop: what a recipe plans, what a run makes, keeps, takes up again and asks about."""

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import typer
from fake_model import FakeModel, model_folder, opens
from recipe_texts import steps_of
from sgpo_data.cli.gc import gc
from sgpo_data.cli.run import add_run
from two_by_two import TWO_BY_TWO, UNTRAINED, Plain
from typer.testing import CliRunner, Result
from warm import warm_path

from sgpo_data.engines import GenerateRequest, Generation
from sgpo_data.engines.loading import Loading
from sgpo_data.errors import DatasetError, MissingExtraError, ModelError, RecipeError
from sgpo_data.execution import Execution
from sgpo_data.loop.estimate import estimates
from sgpo_data.loop.folder import RecipeFolder
from sgpo_data.loop.gc import delete, unused
from sgpo_data.loop.loop import Changes, run_recipe
from sgpo_data.loop.plan import Step, plan_recipe
from sgpo_data.loop.script import script
from sgpo_data.recipe.file import parsed, read_recipe
from sgpo_data.references.model import Model
from sgpo_data.running.engines import OpenModel
from sgpo_data.store.dataset import open_dataset
from sgpo_data.toy.model import base_model
from sgpo_data.training.job import TrainJob


@pytest.fixture
def place(tmp_path: Path) -> Path:
    model_folder(tmp_path / "model")
    rows = [{"prompt": f"Say {i} and no more.", "answer": f"{i} is what I say, and no more than that is said here."} for i in range(30)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def how(tmp_path: Path) -> Execution:
    return Execution(root=tmp_path / "runs", progress="none")


def fingerprints(steps: list[Step]) -> dict[str, str]:
    return {f"{step.phase}-{step.round}/{step.stage}": step.job.identity.fingerprint for step in steps}


def models(step: Step) -> dict[str, str]:
    return {role: record.identity for role, record in step.job.identity.models.items()}


def written(place: Path, text: str) -> Path:
    (place / "x.toml").write_text(text)
    return place / "x.toml"


def digests(root: Path) -> dict[str, list[str]]:
    folders = sorted(path for path in (root / "store").iterdir() if not path.name.startswith("model@"))
    return {folder.name: [record.sha256 for record in open_dataset(folder).manifest.files] for folder in folders}


def test_two_phases_of_two_rounds_are_one_chain(place: Path, how: Execution) -> None:
    steps = steps_of(TWO_BY_TWO, place, how)
    stages = ["source prompts", "seed responses", "improve improved", "score-ppl scored", "filter filtered"]
    phases = {"improver": [*stages, "pair examples", "train model"], "policy": [*stages, "pair pairs", "train model"]}
    expected = [f"{phase}-{number} {stage}" for phase, names in phases.items() for number in (1, 2) for stage in names]
    assert [f"{step.phase}-{step.round} {step.stage} {step.link.name}" for step in steps] == expected
    assert {step.link.parent.parent for step in steps} == {how.root / "x"}
    given = models(steps[1])["policy"]
    trained = {f"{step.phase}-{step.round}": f"train:{step.job.identity.fingerprint[:32]}" for step in steps if step.stage == "train"}
    starts = {"improver-1": given, "improver-2": trained["improver-1"], "policy-1": trained["improver-2"], "policy-2": trained["policy-1"]}
    for step in steps:
        start = starts[f"{step.phase}-{step.round}"]
        role = {"seed": {"policy": start}, "improve": {"improver": start}, "score-ppl": {"scorer": given}}
        role["train"] = {"start": start} if step.phase == "improver" else {"start": start, "reference": start}
        assert models(step) == role.get(step.stage, {}), step


def test_changing_a_threshold_changes_no_generated_answer_of_its_phase(place: Path, how: Execution) -> None:
    before = fingerprints(steps_of(TWO_BY_TWO.replace("rounds = 2", "rounds = 1"), place, how))
    head, _, last = TWO_BY_TWO.replace("rounds = 2", "rounds = 1").rpartition("[phases.filter]\n")
    after = fingerprints(steps_of(f"{head}[phases.filter]\nppl.k = 2.0\n{last}", place, how))
    assert [name for name in before if before[name] != after[name]] == ["policy-1/filter", "policy-1/pair", "policy-1/train"]


def test_a_further_round_changes_none_before_it(place: Path, how: Execution) -> None:
    before = fingerprints(steps_of(TWO_BY_TWO, place, how))
    after = fingerprints(steps_of("rounds = 3".join(TWO_BY_TWO.rsplit("rounds = 2", 1)), place, how))
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 7


def test_no_prompt_is_in_two_rounds(place: Path, how: Execution) -> None:
    fake = Plain()
    run_recipe(written(place, UNTRAINED), how, open_model=opens(fake))
    rounds = [{row["prompt_id"] for row in open_dataset(how.root / f"x/improver-{number}/prompts").rows()} for number in (1, 2)]
    assert [len(each) for each in rounds] == [4, 4]
    assert not rounds[0] & rounds[1]


def test_a_second_run_makes_nothing(place: Path, how: Execution) -> None:
    fake = Plain()
    first = run_recipe(written(place, UNTRAINED), how, open_model=opens(fake))
    again = Plain()
    second = run_recipe(place / "x.toml", how, open_model=opens(again))
    assert all(each.made_now for each in first)
    assert not any(each.made_now for each in second)
    assert again.asked == []
    assert open_dataset(second[-1].step.link).table == "examples"
    assert all(not os.path.isabs(os.readlink(each.step.link)) for each in second)


@pytest.mark.parametrize("answers", [5, 17])
def test_a_run_that_broke_off_ends_as_one_that_did_not(answers: int, place: Path, how: Execution) -> None:
    fake = Plain(fail_after=answers)
    with pytest.raises(ConnectionAbortedError):
        run_recipe(written(place, UNTRAINED), how, open_model=opens(fake))
    rest = Plain()
    run_recipe(place / "x.toml", how, open_model=opens(rest))
    broken, whole = len(rest.asked), Plain()
    undisturbed = how.model_copy(update={"root": place / "undisturbed"})
    run_recipe(place / "x.toml", undisturbed, open_model=opens(whole))
    assert digests(how.root) == digests(undisturbed.root)
    assert broken == len(whole.asked) - answers


def test_a_model_is_loaded_once_for_all_stages_that_follow_each_other(place: Path, how: Execution) -> None:
    loads: list[FakeModel] = []

    def opened(*_: object) -> FakeModel:
        loads.append(Plain())
        return loads[-1]

    run_recipe(written(place, UNTRAINED), how, open_model=opened)
    assert len(loads) == 1
    assert loads[0].closed


def test_generating_anew_what_was_made_asks_first(place: Path, how: Execution) -> None:
    fake = Plain()
    before = run_recipe(written(place, UNTRAINED), how, open_model=opens(fake))
    changed = written(place, UNTRAINED.replace("[phases.improve]", "[phases.improve]\nsampling.temperature = 0.5"))
    asked: list[Changes] = []
    refusing = remember(asked, agreed=False)
    again = Plain()
    with pytest.raises(RecipeError, match=r"x.toml: generation or training of 4 steps would start again: 16 rows, about \d+ s; nothing was made.*--yes"):
        run_recipe(changed, how, confirm=refusing, open_model=opens(again))
    assert [(change.step.stage, change.rows) for change in asked[0].costly] == [("improve", 4), ("score-ppl", 4)] * 2
    assert asked[0].changes[0].why == ("sampling.temperature: 0.7 -> 0.5",)
    assert again.asked == []
    assert all(each.step.link.resolve() == each.step.folder.resolve() for each in before)
    with pytest.raises(RecipeError, match="--yes"):
        run_recipe(changed, how, open_model=opens(again))
    after = run_recipe(changed, how, confirm=remember(asked, agreed=True), open_model=opens(again))
    assert {each.step.stage for each in after if not each.made_now} == {"source", "seed"}
    assert all(each.step.link.resolve() == each.step.folder.resolve() for each in after)
    run_recipe(changed, how, confirm=refusing, open_model=opens(again))


def remember(asked: list[Changes], *, agreed: bool) -> Callable[[Changes], bool]:
    def confirm(changes: Changes) -> bool:
        asked.append(changes)
        return agreed

    return confirm


def test_a_changed_threshold_asks_nothing(place: Path, how: Execution) -> None:
    fake = Plain()
    run_recipe(written(place, UNTRAINED), how, open_model=opens(fake))
    again = Plain()
    after = run_recipe(written(place, UNTRAINED.replace("[phases.filter]", "[phases.filter]\nppl.k = 2.0")), how, open_model=opens(again))
    assert {each.step.stage for each in after if each.made_now} == {"filter", "pair"}
    assert again.asked == []


def test_agreed_work_that_broke_off_is_not_asked_about_again(place: Path, how: Execution) -> None:
    fake = Plain()
    run_recipe(written(place, UNTRAINED), how, open_model=opens(fake))
    changed = written(place, UNTRAINED.replace("[phases.improve]", "[phases.improve]\nsampling.temperature = 0.5"))
    fake = Plain(fail_after=2)
    with pytest.raises(ConnectionAbortedError):
        run_recipe(changed, how, confirm=lambda _: True, open_model=opens(fake))
    fake = Plain()
    assert run_recipe(changed, how, open_model=opens(fake))[-1].made_now


def test_the_frozen_recipe_is_the_same_without_the_files_it_named(place: Path, how: Execution) -> None:
    fake = Plain()
    (place / "mine.jinja").write_text("Again:\n{{ response }}\r\n\"\"\"'''\\ é")
    ran = run_recipe(written(place, UNTRAINED.replace("[phases.improve]", '[phases.improve]\nimprove_template = "mine.jinja"')), how, open_model=opens(fake))
    (place / "mine.jinja").unlink()
    frozen = read_recipe(how.root / "x/recipe.toml")
    again = plan_recipe(frozen, how)
    assert [step.job.identity.fingerprint for step in again] == [each.step.job.identity.fingerprint for each in ran]
    assert frozen.phases[0].seed is not None
    assert (frozen.phases[0].seed.engine, frozen.phases[0].seed.dtype, frozen.phases[0].seed.context_tokens) == ("transformers", "float32", 512)


def test_one_recipe_is_run_by_one_process_at_a_time(place: Path, how: Execution) -> None:
    fake = Plain()
    with RecipeFolder(how.root / "x").claimed(), pytest.raises(DatasetError, match=f"x: is being made by process {os.getpid()} on"):
        run_recipe(written(place, UNTRAINED), how, open_model=opens(fake))
    assert run_recipe(place / "x.toml", how, open_model=opens(fake))


def test_rounds_say_whose_pairs_they_train_on(place: Path, how: Execution) -> None:
    text = """
        model = "model"
        [[phases]]
        name = "spin"
        rounds = 3
        data_rounds = 2
        [phases.source]
        path = "prompts.jsonl"
        [phases.seed]
        [phases.pair]
        [phases.train]
        allow_policies = ["previous"]
    """
    trainings = [step.job for step in steps_of(text, place, how) if isinstance(step.job, TrainJob)]
    assert [len(job.inputs) for job in trainings] == [1, 2, 2]
    starts = [job.start.record.identity for job in trainings]
    assert [job.train.allow_policies for job in trainings] == [(), (starts[0],), (starts[1],)]


def test_every_round_can_start_from_the_first_model(place: Path, how: Execution) -> None:
    text = TWO_BY_TWO.replace('name = "policy"', 'name = "policy"\nstart_from = "recipe"\nimprover = "improver"')
    steps = steps_of(text, place, how)
    given, improver = models(steps[1])["policy"], f"train:{steps[13].job.identity.fingerprint[:32]}"
    of_policy = [step for step in steps if step.phase == "policy"]
    assert {models(step)["policy"] for step in of_policy if step.stage == "seed"} == {given}
    assert {models(step)["improver"] for step in of_policy if step.stage == "improve"} == {improver}
    assert {models(step)["start"] for step in of_policy if step.stage == "train"} == {given}


def test_a_missing_source_or_model_is_told_with_its_place(place: Path, how: Execution) -> None:
    with pytest.raises(DatasetError, match=r"x.toml: phases.1.source.path: no such file or folder: .*nothing.jsonl"):
        steps_of(UNTRAINED.replace("prompts.jsonl", "nothing.jsonl"), place, how)
    with pytest.raises(ModelError, match=r"x.toml: model: .*nowhere/else/at: no such model folder"):
        steps_of(UNTRAINED.replace('"model"', '"nowhere/else/at"'), place, how)


def test_costs_are_estimated_from_what_was_measured(place: Path, how: Execution) -> None:
    steps = steps_of(UNTRAINED, place, how)
    first = estimates(steps, how.store)
    assert {each.state for each in first} == {"new"}
    assert [(each.step.stage, each.rows, each.tokens) for each in first[:2]] == [("source", 4, None), ("seed", 4, None)]
    fake = Plain(fail_after=1)
    with pytest.raises(ConnectionAbortedError):
        run_recipe(written(place, UNTRAINED), how, open_model=opens(fake))
    assert [(each.state, each.rows_done) for each in estimates(steps, how.store)[:3]] == [("made", 4), ("resumes", 1), ("resumes", 0)]
    # A killed session counts up to its last whole part, so the measuring run is one that was not.
    how = how.model_copy(update={"root": place / "undisturbed"})
    fake = Plain()
    run_recipe(place / "x.toml", how, open_model=opens(fake))
    steps = steps_of(UNTRAINED, place, how)
    doubled = steps_of(UNTRAINED.replace("prompts_per_round = 4", "prompts_per_round = 8"), place, how)
    measured = {each.step.stage: each for each in estimates(steps, how.store)[:7]}
    expected = {each.step.stage: each for each in estimates(doubled, how.store)[:7]}
    assert expected["pair"].rows == 2 * (measured["pair"].rows or 0)
    assert expected["seed"].tokens == 2 * (measured["seed"].tokens or 0) > 0


def test_what_no_recipe_uses_is_listed_and_removed_on_request(place: Path, how: Execution) -> None:
    fake = Plain()
    run_recipe(written(place, UNTRAINED), how, open_model=opens(fake))
    assert unused(how.root) == []
    run_recipe(written(place, UNTRAINED.replace("[phases.filter]", "[phases.filter]\nppl.k = 2.0")), how, open_model=opens(fake))
    found = unused(how.root)
    assert sorted(each.folder.name.partition("@")[0] for each in found) == ["examples", "examples", "filtered", "filtered"]
    assert all(each.bytes > 0 for each in found)
    for each in found:
        delete(each)
    assert unused(how.root) == []
    assert not any(each.made_now for each in run_recipe(place / "x.toml", how, open_model=opens(fake)))


def test_what_is_being_made_is_not_removed(place: Path, how: Execution) -> None:
    class Looking(Plain):
        looked = False

        def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
            yield from super().generate(requests)
            (found,) = unused(how.root)
            assert found.in_use
            with pytest.raises(DatasetError, match="is being made right now"):
                delete(found)
            self.looked = True

    from sgpo_data.running.runner import run
    from sgpo_data.stages.seed import Seed

    fake = Plain()
    run_recipe(written(place, UNTRAINED), how, open_model=opens(fake))
    looking = Looking()
    run(Seed(samples=2), str(how.root / "x/improver-1/prompts"), model=str(place / "model"), execution=how, open_model=opens(looking))
    assert looking.looked


def command_line(*words: object, open_model: OpenModel | None = None) -> Result:
    app = typer.Typer()
    add_run(app)
    app.command("gc")(gc)
    return CliRunner().invoke(app, [str(word) for word in words], obj=open_model)


def test_the_last_line_printed_is_the_reference_of_the_last_thing_made(place: Path, how: Execution) -> None:
    fake = Plain()
    done = command_line("run", written(place, UNTRAINED), "--root", how.root, "--progress", "none", open_model=opens(fake))
    assert done.stdout == f"{how.root}/x/improver-2/examples\n"
    summary = json.loads(command_line("run", place / "x.toml", "--root", how.root, "--json", open_model=opens(fake)).stdout)
    assert {step["made_now"] for step in summary["steps"]} == {False}
    assert command_line("gc", "--root", how.root).stdout == ""


def test_an_engine_that_is_not_installed_is_told_before_the_first_step(place: Path, how: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgpo_data.engines.loading.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"^torch is not installed; run: pip install 'sgpo-data\[models\]'$"):
        run_recipe(written(place, UNTRAINED), how)
    assert not list(how.root.rglob("*.parquet"))


def test_a_dry_run_makes_nothing(place: Path, how: Execution) -> None:
    done = command_line("run", written(place, TWO_BY_TWO), "--root", how.root, "--dry-run", open_model=opens(Plain()))
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["phase", "round", "stage", "state", "rows", "tokens", "seconds", "disk"]
    assert rows[2] == ["improver", "1", "seed", "new", "4", "?", "?", "?"]
    assert len(rows) == 1 + 28
    assert not how.root.exists()


def test_a_dry_run_knows_the_rows_of_a_local_file_and_refuses_one_that_the_run_would(place: Path, how: Execution) -> None:
    recipe = written(place, 'model = "model"\n[[phases]]\nname = "policy"\n[phases.source]\npath = "few.jsonl"\n[phases.seed]\nsamples = 2\n')
    source = place / "few.jsonl"
    row = '{"prompt": "%s", "response": "yes"}\n'
    source.write_text("".join(row % name for name in ("a", "b", "c", "b")), encoding="utf-8")
    planned = command_line("run", recipe, "--root", how.root, "--dry-run", "--json", open_model=opens(Plain()))
    assert [(step["stage"], step["rows"]) for step in json.loads(planned.stdout)] == [("source", 3), ("seed", 6)]
    source.write_text("", encoding="utf-8")
    refused = command_line("run", recipe, "--root", how.root, "--dry-run", open_model=opens(Plain()))
    assert isinstance(refused.exception, DatasetError)
    assert "no rows" in str(refused.exception)
    assert not how.root.exists()


def test_without_a_terminal_a_change_needs_yes(place: Path, how: Execution) -> None:
    fake = Plain()
    run_recipe(written(place, UNTRAINED), how, open_model=opens(fake))
    changed = written(place, UNTRAINED.replace("[phases.seed]", "[phases.seed]\nsamples = 2"))
    refused = command_line("run", changed, "--root", how.root, open_model=opens(fake))
    assert isinstance(refused.exception, RecipeError)
    assert "add --yes" in str(refused.exception)
    assert command_line("run", changed, "--root", how.root, "--yes", "--progress", "none", open_model=opens(fake)).exit_code == 0


REAL = """
model = "model"
[[phases]]
name = "spin"
rounds = 2
prompts_per_round = 8
data_rounds = 2
[phases.source]
path = "prompts.jsonl"
columns = ["reference=reference"]
[phases.seed]
sampling.max_tokens = 64
sampling.temperature = 1.0
[phases.pair]
[phases.train]
learning_rate = 1e-5
batch_rows = 8
allow_policies = ["previous"]
"""


def test_the_printed_script_ends_with_the_same_fingerprints(tmp_path: Path) -> None:
    from sgpo_data.toy.__main__ import prompts

    base_model(tmp_path / "model")
    prompts(rows=30, output=tmp_path / "prompts.jsonl")
    how = Execution(root=tmp_path / "runs", progress="none")
    ran = run_recipe(written(tmp_path, REAL), how)
    text = script("x.toml", [each.step for each in ran], how)
    environment = {**os.environ, "PATH": warm_path(tmp_path / "bin")}
    done = subprocess.run(["sh", "-s", str(tmp_path / "other root")], input=text, text=True, capture_output=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    other = how.model_copy(update={"root": tmp_path / "other root"})
    assert sorted(path.name for path in other.store.iterdir()) == sorted(path.name for path in how.store.iterdir())
    assert digests(other.root) == digests(how.root)
    assert done.stdout.splitlines()[-1].endswith(ran[-1].step.job.name)


def test_a_script_writes_every_flag_that_is_not_at_its_default(place: Path, how: Execution) -> None:
    (place / "mine.jinja").write_text("it's {{ response }}\n")
    text = UNTRAINED.replace("[phases.improve]", '[phases.improve]\nimprove_template = "mine.jinja"').replace("[phases.filter]", "[phases.filter]\nppl.k = 2.5")
    recipe = parsed(text, place / "x.toml")
    lines = script(str(recipe.path), plan_recipe(recipe, how), how).splitlines()
    (filtering, *_) = [line for line in lines if line.startswith("sgpo filter")]
    assert filtering.split(" -o ")[0].split(" ", 3)[3].split() == [
        *("--gates.min-edit", "0.0", "--gates.max-edit", "1.0", "--gates.max-length-ratio", "100.0", "--gates.max-repetition", "1.0"),
        *("--ppl.k", "2.5"),
    ]
    assert any("printf %s" in line for line in lines)


def test_reusing_a_given_dataset_as_a_source_makes_no_prompts(place: Path, how: Execution) -> None:
    fake = Plain()
    ran = run_recipe(written(place, UNTRAINED), how, open_model=opens(fake))
    responses = next(each.step for each in ran if each.step.stage == "seed")
    text = f'model = "model"\n[[phases]]\n[phases.source]\npath = "{responses.folder}"\n[phases.improve]\n'
    steps = steps_of(text, place, how)
    assert [step.stage for step in steps] == ["improve"]
    assert fingerprints(steps_of(text.replace(str(responses.folder), "x/improver-1/responses"), place, how)) == fingerprints(steps)
    assert [each.folder for each in steps[0].job.inputs] == [responses.folder]
    with pytest.raises(RecipeError, match=r"phases.1.source.path: .* is a dataset that is read as it stands, so source.limit cannot be followed"):
        steps_of(text.replace("[phases.improve]", "limit = 3\n[phases.improve]"), place, how)


def test_an_adapter_over_the_recipes_model_is_in_what_it_makes(place: Path, how: Execution) -> None:
    (place / "adapter").mkdir()
    (place / "adapter/adapter_config.json").write_text("{}")
    opened: list[tuple[object, object]] = []

    def engine(loading: Loading, model: Model, how: Execution) -> FakeModel:
        opened.append((model.folder, model.adapter))
        return Plain()

    ran = run_recipe(written(place, f'adapter = "adapter"\n{UNTRAINED}'), how, open_model=engine)
    assert opened == [(place / "model", place / "adapter")]
    folder, adapter = models(ran[1].step)["policy"].split("+")
    assert folder.startswith("folder:")
    assert adapter.startswith("folder:")
    assert {models(each.step).get("scorer") for each in ran if each.step.stage == "score-ppl"} == {f"{folder}+{adapter}"}
    frozen = read_recipe(how.root / "x/recipe.toml")
    assert [step.job.identity.fingerprint for step in plan_recipe(frozen, how)] == [each.step.job.identity.fingerprint for each in ran]
    (seed, *_) = [line for line in script(str(frozen.path), plan_recipe(frozen, how), how).splitlines() if line.startswith("sgpo seed")]
    assert seed.split()[seed.split().index("--adapter") + 1] == str(place / "adapter")
    with pytest.raises(RecipeError, match=r"x.toml: phases.1.train: train: starts from a whole model"):
        steps_of(f'adapter = "adapter"\n{TWO_BY_TWO}', place, how)


def test_a_script_names_a_model_at_a_server_as_the_recipe_does(place: Path, how: Execution) -> None:
    text = UNTRAINED.replace('name = "improver"', 'name = "improver"\nimprover = "openai:some model"')
    recipe = parsed(text, place / "x.toml")
    lines = script(str(recipe.path), plan_recipe(recipe, how), how).splitlines()
    assert {"--model 'openai:some model'" in line for line in lines if line.startswith("sgpo improve")} == {True}
