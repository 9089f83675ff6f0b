"""Claims about running a stage: what is made, what is reused, what a stop leaves, what is refused."""

import json
import multiprocessing
import resource
from collections.abc import Iterable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from time import monotonic

import polars as pl
import pytest
from fake_model import FakeModel, model_folder, opens
from pydantic import ValidationError
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.engines import GenerateRequest, Generation
from sgpo_data.errors import DatasetError, ModelError, RecipeError, SchemaError
from sgpo_data.execution import Execution
from sgpo_data.references.dataset import source_of
from sgpo_data.rows import Role
from sgpo_data.running.runner import run
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.improve.improve import Improve
from sgpo_data.stages.improve.templates import Template
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.stages.score_ppl import ScorePpl
from sgpo_data.stages.seed import Seed
from sgpo_data.store.dataset import Dataset, faults, open_dataset


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"Say {i} and no more.", "answer": f"{i}"}) + "\n" for i in range(20)))
    return str(path)


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(model_folder(tmp_path / "model"))


@pytest.fixture
def how(tmp_path: Path) -> Execution:
    return Execution(root=tmp_path / "runs", part_rows=7, progress="none")


def frame(dataset: Dataset) -> pl.DataFrame:
    return dataset.scan().collect()


def test_every_prompt_and_sample_is_one_row_in_order(prompts: str, model: str, how: Execution) -> None:
    fake = FakeModel()
    dataset = run(Seed(samples=2), prompts, model=model, execution=how, open_model=opens(fake))
    rows = frame(dataset)
    assert rows.height == 40
    assert rows.get_column("sample").to_list() == [0, 1] * 20
    assert rows.get_column("messages").to_list()[4] == [{"role": "user", "content": "Say 2 and no more."}]
    assert rows.select("prompt_id", "sample").is_unique().all()
    assert dataset.manifest.outcomes == {"stop": 40}
    assert [record.rows for record in dataset.manifest.files] == [7, 7, 7, 7, 7, 5]
    assert faults(dataset) == []


def test_the_same_work_is_never_done_twice(prompts: str, model: str, how: Execution) -> None:
    fake = FakeModel()
    first = run(Seed(), prompts, model=model, execution=how, open_model=opens(fake))
    again = FakeModel()
    assert run(Seed(), prompts, model=model, execution=how, open_model=opens(again)) == first
    assert again.asked == []


def test_a_failed_run_goes_on_with_the_rows_that_are_missing(prompts: str, model: str, how: Execution) -> None:
    failing = FakeModel(fail_after=11)
    with pytest.raises(ConnectionAbortedError):
        run(Seed(), prompts, model=model, execution=how, open_model=opens(failing))
    assert failing.closed
    rest = FakeModel()
    resumed = run(Seed(), prompts, model=model, execution=how, open_model=opens(rest))
    assert len(rest.asked) == 20 - 11
    whole = run(Seed(), prompts, model=model, out=how.root / "whole", execution=how, open_model=opens(rest))
    assert frame(resumed).equals(frame(whole))
    # Every letter is a token of this model; those of the session that broke off count.
    assert resumed.manifest.tokens == whole.manifest.tokens == sum(frame(resumed).get_column("response").str.len_chars())
    assert [record.sha256 for record in resumed.manifest.files] == [record.sha256 for record in whole.manifest.files]


def test_the_seconds_of_a_session_that_broke_off_count(prompts: str, model: str, how: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [monotonic()]
    monkeypatch.setattr("sgpo_data.store.unfinished.monotonic", lambda: clock[0])

    class SlowModel(FakeModel):
        def _count(self) -> None:
            super()._count()
            clock[0] += 1000

    with pytest.raises(ConnectionAbortedError):
        run(Seed(), prompts, model=model, execution=how, open_model=opens(SlowModel(fail_after=11)))
    clock[0] = monotonic()
    resumed = run(Seed(), prompts, model=model, execution=how, open_model=opens(SlowModel()))
    assert resumed.manifest.seconds == pytest.approx(20_000, abs=100)


def test_the_part_size_does_not_change_a_row(prompts: str, model: str, how: Execution) -> None:
    fake = FakeModel()
    small = run(Seed(), prompts, model=model, out=how.root / "small", execution=how, open_model=opens(fake))
    large = run(Seed(), prompts, model=model, out=how.root / "large", execution=how.model_copy(update={"part_rows": 512}), open_model=opens(fake))
    assert frame(small).equals(frame(large))
    assert small.manifest.fingerprint == large.manifest.fingerprint


def interrupted(prompts: str, model: str, how: Execution) -> Path:
    fake = FakeModel(fail_after=11)
    with pytest.raises(ConnectionAbortedError):
        run(Seed(), prompts, model=model, out=how.root / "out", execution=how, open_model=opens(fake))
    return how.root / "out"


def test_a_journal_cut_in_half_costs_the_rows_that_are_cut(prompts: str, model: str, how: Execution) -> None:
    folder = interrupted(prompts, model, how)
    journal = max((folder / ".unfinished").glob("part-*.jsonl"), key=lambda path: path.stat().st_size)
    lines = journal.read_bytes().split(b"\n")[:-1]
    journal.write_bytes(b"\n".join(lines)[: -len(lines[-1]) // 2])
    rest = FakeModel()
    resumed = run(Seed(), prompts, model=model, out=folder, execution=how, open_model=opens(rest))
    assert len(rest.asked) == 20 - 11 + 1
    assert resumed.manifest.rows == 20
    assert faults(resumed) == []


def test_a_part_cut_in_half_is_made_again(prompts: str, model: str, how: Execution) -> None:
    folder = interrupted(prompts, model, how)
    part = next(iter(folder.glob("part-*.parquet")))
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    rest = FakeModel()
    resumed = run(Seed(), prompts, model=model, out=folder, execution=how, open_model=opens(rest))
    assert len(rest.asked) == 20 - 11 + 7
    assert faults(resumed) == []


def test_an_output_of_another_fingerprint_is_left_alone(prompts: str, model: str, how: Execution) -> None:
    fake = FakeModel()
    made = run(Seed(), prompts, model=model, out=how.root / "out", execution=how, open_model=opens(fake))
    with pytest.raises(DatasetError, match=r"another fingerprint.*samples: 1 -> 2.*another -o"):
        run(Seed(samples=2), prompts, model=model, out=how.root / "out", execution=how, open_model=opens(fake))
    assert open_dataset(made.folder) == made


def test_an_unfinished_output_of_another_fingerprint_is_left_alone(prompts: str, model: str, how: Execution) -> None:
    folder = interrupted(prompts, model, how)
    with pytest.raises(DatasetError, match=r"another fingerprint.*samples: 1 -> 2"):
        run(Seed(samples=2), prompts, model=model, out=folder, execution=how)


def test_a_run_that_made_nothing_binds_its_output_to_nothing(prompts: str, model: str, how: Execution) -> None:
    fake = FakeModel(fail_after=0)
    with pytest.raises(ConnectionAbortedError):
        run(Seed(), prompts, model=model, out=how.root / "out", execution=how, open_model=opens(fake))
    fake = FakeModel()
    assert run(Seed(samples=2), prompts, model=model, out=how.root / "out", execution=how, open_model=opens(fake)).manifest.rows == 40


def test_a_folder_that_is_no_dataset_is_left_alone(prompts: str, model: str, how: Execution, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("work of years")
    with pytest.raises(DatasetError, match="not empty, and no dataset"):
        run(Seed(), prompts, model=model, out=tmp_path / "mine", execution=how)


def test_an_unfinished_input_is_refused(prompts: str, model: str, how: Execution) -> None:
    folder = interrupted(prompts, model, how)
    with pytest.raises(DatasetError, match="never finished; run its stage again"):
        run(Improve(), str(folder), execution=how)


def test_a_table_of_the_wrong_kind_is_refused(prompts: str, model: str, how: Execution) -> None:
    fake = FakeModel()
    made = run(Seed(), prompts, model=model, execution=how, open_model=opens(fake))
    with pytest.raises(SchemaError, match="holds responses; score-ppl reads improved"):
        run(ScorePpl(), str(made.folder), execution=how, open_model=opens(fake))


def _hold(folder: str, prompts: str, model: str, how: Execution, ready: Event, done: Event) -> None:
    class Waiting(FakeModel):
        def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
            yield from super().generate(requests)
            ready.set()
            done.wait(60)

    run(Seed(), prompts, model=model, out=Path(folder), execution=how, open_model=opens(Waiting()))


def test_two_processes_never_write_one_dataset(prompts: str, model: str, how: Execution) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, done = spawn.Event(), spawn.Event()
    folder = how.root / "out"
    first = spawn.Process(target=_hold, args=(str(folder), prompts, model, how, ready, done))
    first.start()
    try:
        assert ready.wait(60)
        with pytest.raises(DatasetError, match=f"is being made by process {first.pid} on"):
            run(Seed(), prompts, model=model, out=folder, execution=how)
    finally:
        done.set()
        first.join(60)
    assert run(Seed(), prompts, model=model, out=folder, execution=how).manifest.rows == 20


def test_a_disk_that_takes_no_more_is_one_line_and_loses_nothing(prompts: str, model: str, how: Execution) -> None:
    fake = FakeModel(window=1)
    run(Seed(), prompts, model=model, execution=how, open_model=opens(fake))
    whole_part = how.model_copy(update={"part_rows": 512})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(DatasetError, match=r"part-00000.jsonl: cannot be written .*make room.*run the same command again"):
            run(Seed(), prompts, model=model, out=how.root / "out", execution=whole_part, open_model=opens(fake))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    rest = FakeModel()
    assert run(Seed(), prompts, model=model, out=how.root / "out", execution=whole_part, open_model=opens(rest)).manifest.rows == 20
    assert 0 < len(rest.asked) < 20


def test_the_chain_says_who_wrote_and_who_measured_each_row(prompts: str, model: str, how: Execution) -> None:
    fake = FakeModel()
    seeded = run(Seed(), prompts, model=model, execution=how, open_model=opens(fake))
    improved = run(Improve(role="improve"), str(seeded.folder), execution=how, open_model=opens(fake))
    scored = run(ScorePpl(), str(improved.folder), execution=how, open_model=opens(fake))
    filtered = run(Filter(), str(scored.folder), execution=how)
    policy = seeded.manifest.identity.models["policy"].identity
    rows = frame(filtered)
    assert policy.startswith("folder:")
    assert set(rows.get_column("policy")) == set(rows.get_column("improver")) == set(rows.get_column("scorer")) == {policy}
    assert rows.get_column("response_nll").to_list() == [len(text) / 10 for text in rows.get_column("response")]
    assert faults(filtered) == []


def test_what_a_rewrite_repeats_of_its_own_template_is_residue(prompts: str, model: str, how: Execution) -> None:
    fake = FakeModel()
    seeded = run(Seed(), prompts, model=model, execution=how, open_model=opens(fake))
    mine = Template("mine.jinja", "Mend the museum guide's sentence. {{ response }}")
    improved = run(Improve(role="improve", improve_template=mine), str(seeded.folder), execution=how, open_model=opens(fake))
    filtered = run(Filter(), str(run(ScorePpl(), str(improved.folder), execution=how, open_model=opens(fake)).folder), execution=how)
    # The fake model answers with its request, so every rewrite opens with the template.
    assert set(frame(filtered).get_column("residue")) == {"Mend the museum guide's"}
    assert filtered.manifest.outcomes == {"finished": 20}
    assert source_of(filtered, "improved", how.root) == improved


def test_a_template_is_read_where_flags_are_and_its_text_alone_counts(prompts: str, model: str, how: Execution) -> None:
    fake = FakeModel()
    seeded = run(Seed(), prompts, model=model, execution=how, open_model=opens(fake))
    file = how.root / "mine.jinja"
    file.write_text("Mend: {{ response }}")
    flags = ["improve", str(seeded.folder), "--root", str(how.root), "--role", "improve", "--improve_template"]
    made = CliRunner().invoke(app, [*flags, str(file)], obj=opens(fake))
    assert made.exit_code == 0, made.stderr
    same = run(
        Improve(role="improve", improve_template=Template("elsewhere", "Mend: {{ response }}")), str(seeded.folder), execution=how, open_model=opens(fake)
    )
    assert open_dataset(Path(made.stdout.splitlines()[-1])).manifest.fingerprint == same.manifest.fingerprint
    assert "gone.jinja: cannot be read" in CliRunner().invoke(app, [*flags, str(how.root / "gone.jinja")]).stderr
    with pytest.raises(ValidationError, match="improve_template"):
        Improve.model_validate({"improve_template": str(file)})


def test_a_model_that_changed_since_is_not_used(prompts: str, model: str, how: Execution) -> None:
    fake = FakeModel()
    seeded = run(Seed(), prompts, model=model, execution=how, open_model=opens(fake))
    (Path(model) / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"the input was made with folder:.*--model"):
        run(Improve(), str(seeded.folder), execution=how, open_model=opens(fake))


def test_no_pair_left_is_an_error_and_no_row_left_is_not(prompts: str, model: str, how: Execution) -> None:
    fake = FakeModel()
    seeded = run(Seed(), prompts, model=model, execution=how, open_model=opens(fake))
    scored = run(ScorePpl(), str(run(Improve(), str(seeded.folder), execution=how, open_model=opens(fake)).folder), execution=how, open_model=opens(fake))
    filtered = run(Filter.model_validate({"gates": {"max_edit": 0.0, "min_edit": 0.0}}), str(scored.folder), execution=how)
    assert filtered.manifest.rows == 20
    assert "kept" not in filtered.manifest.outcomes
    with pytest.raises(DatasetError, match=r"no row of .* is left to make pairs of"):
        run(Pair(), str(filtered.folder), execution=how)


def test_a_broken_dataset_is_told_from_a_whole_one(prompts: str, model: str, how: Execution) -> None:
    fake = FakeModel()
    made = run(Seed(), prompts, model=model, execution=how, open_model=opens(fake))
    part = made.paths[1]
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    assert len(faults(made)) == 1
    assert "SHA-256" in faults(made)[0]
    part.unlink()
    with pytest.raises(DatasetError, match=f"{part.name} is gone"):
        open_dataset(made.folder)


@pytest.mark.parametrize("role", ["refine", "improve"])
def test_refining_without_any_reference_is_refused_before_the_model_is_asked(role: Role, tmp_path: Path, model: str, how: Execution) -> None:
    path = tmp_path / "bare.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"Say {number}."}) + "\n" for number in range(3)))
    fake = FakeModel()
    responses = run(Seed(), str(path), model=model, execution=how, open_model=opens(fake))
    if role == "improve":
        assert run(Improve(role=role), str(responses.folder), execution=how, open_model=opens(fake)).manifest.outcomes == {"stop": 3}
        return
    with pytest.raises(RecipeError, match="no row has a reference to refine with; take --role improve"):
        run(Improve(role=role), str(responses.folder), execution=how, open_model=opens(fake))
