"""Claims about training: what is trained on, from what, and what a kill, a change or another model's pairs do."""

import json
import logging
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from made import made_dataset
from safetensors.torch import load_file
from sgpo_data.cli.main import app
from sgpo_data.cli.train import add_train
from tiny_model import CONTEXT, END, question, tiny_tokenizer, write_model
from transformers import AutoModelForCausalLM, Trainer, TrainerState
from typer.testing import CliRunner

from sgpo_data.errors import DatasetError, EngineError, ModelError, RecipeError, SchemaError
from sgpo_data.execution import Execution
from sgpo_data.references.model import Model, content_digest, find_model, model_manifest
from sgpo_data.rows import Message
from sgpo_data.running.runner import run
from sgpo_data.stages.seed import Seed
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.input import input_of
from sgpo_data.store.manifest import ModelManifest
from sgpo_data.training.job import TrainJob, do_train
from sgpo_data.training.options import Lora, Train
from sgpo_data.training.planning import planned_training
from sgpo_data.training.settings import trl_faults
from sgpo_data.training.task import CHECKPOINTS

DPO = Train(batch_rows=4, epochs=2, learning_rate=1e-3)
SFT = Train(objective="sft", batch_rows=4, epochs=3, learning_rate=3e-3)
OTHER = "hub:org/other@0123"


def answer(text: str) -> list[Message]:
    return [Message(role="assistant", content=text)]


def pair(number: int, policy: str | None) -> dict[str, object]:
    return {
        "prompt": question(f"say {number}"),
        "chosen": answer(f"yes {number}"),
        "rejected": answer(f"no {number * 7}"),
        "prompt_id": f"{number:032x}",
        "sample": 0,
        "source": "test",
        "policy": policy,
    }


def example(number: int, text: str | None = None) -> dict[str, object]:
    return {
        "prompt": question(f"say {number}"),
        "completion": answer(text or f"yes {number}"),
        "prompt_id": f"{number:032x}",
        "sample": 0,
        "kind": "reference",
        "source": "test",
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def start(place: Path) -> Model:
    return find_model(str(write_model(place / "start")))


@pytest.fixture(scope="module")
def pairs(place: Path, start: Model) -> Dataset:
    """Eleven, so that the last step of an epoch is not full."""
    return made_dataset(place / "pairs", "pairs", [pair(number, start.record.identity) for number in range(11)], part_rows=4)


@pytest.fixture(scope="module")
def examples(place: Path) -> Dataset:
    return made_dataset(place / "examples", "examples", [example(number) for number in range(11)], part_rows=4)


@pytest.fixture(scope="module")
def how(place: Path) -> Execution:
    return Execution(root=place / "runs", progress="none", device="cpu")


@pytest.fixture(scope="module")
def preferring(place: Path, start: Model, pairs: Dataset, how: Execution) -> Model:
    return do_train(job(DPO, start, pairs), place / "preferring", how)


@pytest.fixture(scope="module")
def imitating(place: Path, start: Model, examples: Dataset, how: Execution) -> Model:
    return do_train(job(SFT, start, examples), place / "imitating", how)


def job(train: Train, start: Model, *data: Dataset, reference: Model | None = None) -> TrainJob:
    return planned_training(train, tuple(input_of(each, str(each.folder)) for each in data), start, reference=reference)


def record(model: Model) -> ModelManifest:
    manifest = model_manifest(model.folder)
    assert manifest is not None
    return manifest


def curve(model: Model, name: str) -> list[float]:
    return pl.read_parquet(model.folder / "log.parquet").filter(pl.col("name") == name).sort("step").get_column("value").to_list()


def difference(one: Path, other: Path) -> float:
    """The largest between two weights of the same name."""
    mine, yours = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert mine.keys() == yours.keys()
    return max((mine[name].double() - yours[name].double()).abs().max().item() for name in mine)


def nll(folder: Path, prompt: list[Message], text: str) -> float:
    """Of the answer and its end of turn, in nats, by hand; the line end that the template writes after it is not trained on."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), tiny_tokenizer()
    turns = [{"role": each["role"], "content": each["content"]} for each in prompt]
    before = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    after = tokenizer(text, add_special_tokens=False)["input_ids"] + [END]
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([before + after])).logits[0]
    chances = torch.log_softmax(logits[len(before) - 1 : -1].double(), dim=-1)
    return -chances[range(len(after)), after].sum().item()


def test_sft_lowers_the_loss_on_its_own_examples(imitating: Model, start: Model) -> None:
    losses = curve(imitating, "loss")
    assert len(losses) == 9
    assert losses[-1] < 0.75 * losses[0]
    assert nll(imitating.folder, question("say 3"), "yes 3") < nll(start.folder, question("say 3"), "yes 3")


def test_a_small_model_is_trained_by_one_thread(place: Path, start: Model, how: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        do_train(job(SFT, start, made_dataset(place / "few", "examples", [example(3)])), place / "by-one", how)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_dpo_raises_the_margin_between_chosen_and_rejected(preferring: Model) -> None:
    margins = curve(preferring, "rewards/margins")
    assert margins[0] == 0.0
    assert margins[-1] > 0.5
    assert record(preferring).metrics["rewards/margins"] == margins[-1]


def test_the_sft_loss_is_over_the_completion_alone(place: Path, start: Model, how: Execution) -> None:
    one = made_dataset(place / "one", "examples", [example(3)])
    model = do_train(job(Train(objective="sft", batch_rows=1), start, one), place / "once", how)
    tokens = len(tiny_tokenizer()("yes 3", add_special_tokens=False)["input_ids"]) + 1
    assert curve(model, "loss")[0] == pytest.approx(nll(start.folder, question("say 3"), "yes 3") / tokens, rel=1e-5)


def test_the_reference_is_the_model_given_whatever_name_the_start_was_saved_under(place: Path, start: Model, imitating: Model, how: Execution) -> None:
    mine = made_dataset(place / "mine", "pairs", [pair(3, imitating.record.identity)])
    options = Train(batch_rows=1, learning_rate=1e-12)
    itself = do_train(job(options, imitating, mine), place / "itself", how)
    assert curve(itself, "rewards/margins") == [0.0]
    other = do_train(job(options, imitating, mine, reference=start), place / "other", how)
    moved = {text: nll(start.folder, question("say 3"), text) - nll(imitating.folder, question("say 3"), text) for text in ("yes 3", "no 21")}
    assert curve(other, "rewards/margins") == [pytest.approx(0.1 * (moved["yes 3"] - moved["no 21"]), rel=1e-4)]


def test_a_row_longer_than_max_tokens_is_left_out_whole_and_counted(place: Path, start: Model, how: Execution) -> None:
    long = made_dataset(place / "long", "examples", [example(3), example(4, "very " * CONTEXT), example(5)])
    model = do_train(job(SFT, start, long), place / "short", how)
    assert (record(model).rows, record(model).left_out) == (2, 1)
    with pytest.raises(DatasetError, match=r"all 3 rows are longer than 8 tokens, the shortest has \d+; raise max_tokens"):
        do_train(job(SFT.model_copy(update={"max_tokens": 8}), start, long), place / "none", how)


def test_the_batch_that_fits_in_memory_changes_the_weights_as_rounding_does(
    place: Path, start: Model, pairs: Dataset, preferring: Model, how: Execution
) -> None:
    single = do_train(job(DPO, start, pairs), place / "single", how.model_copy(update={"batch_tokens": 1}))
    assert record(single).fingerprint == record(preferring).fingerprint
    assert difference(single.folder, preferring.folder) < 1e-6
    assert difference(single.folder, start.folder) > 1e-3


def test_the_same_training_gives_the_same_bytes(place: Path, start: Model, pairs: Dataset, preferring: Model, how: Execution) -> None:
    again = do_train(job(DPO, start, pairs), place / "again", how)
    assert content_digest(again.folder) == content_digest(preferring.folder)
    assert (again.folder / "log.parquet").read_bytes() == (preferring.folder / "log.parquet").read_bytes()
    assert record(again).deterministic


def _train_until_killed(at_save: int, options: Train, start: Model, data: Dataset, folder: Path, how: Execution) -> None:
    saves = 0
    whole = TrainerState.save_to_json

    def cut(state: TrainerState, path: str) -> None:
        nonlocal saves
        saves += 1
        whole(state, path)
        if saves == at_save:
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    TrainerState.save_to_json = cut  # type: ignore[method-assign, assignment]
    do_train(job(options, start, data), folder, how)


@pytest.mark.parametrize("objective", ["dpo", "sft"])
def test_a_killed_training_goes_on_from_its_last_whole_checkpoint_to_the_same_bytes(
    objective: str, place: Path, start: Model, pairs: Dataset, examples: Dataset, preferring: Model, imitating: Model, how: Execution
) -> None:
    options, data, undisturbed = (DPO, pairs, preferring) if objective == "dpo" else (SFT, examples, imitating)
    folder = place / f"killed-{objective}"
    child = multiprocessing.get_context("spawn").Process(target=_train_until_killed, args=(4, options, start, data, folder, how))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    with pytest.raises(ModelError, match="training was never finished; run the same sgpo train again"):
        find_model(str(folder))
    assert sorted(path.name for path in (folder / ".unfinished" / CHECKPOINTS).glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-4"]
    resumed = do_train(job(options, start, data), folder, how)
    assert content_digest(resumed.folder) == content_digest(undisturbed.folder)
    assert (resumed.folder / "log.parquet").read_bytes() == (undisturbed.folder / "log.parquet").read_bytes()
    assert not (folder / ".unfinished").exists()


def test_a_training_is_done_once(start: Model, pairs: Dataset, preferring: Model, how: Execution) -> None:
    before = {path: path.stat().st_mtime_ns for path in preferring.folder.iterdir()}
    assert do_train(job(DPO, start, pairs), preferring.folder, how) == preferring
    assert {path: path.stat().st_mtime_ns for path in preferring.folder.iterdir()} == before


def test_a_model_is_named_before_it_is_trained(place: Path, start: Model, pairs: Dataset, preferring: Model) -> None:
    plan = job(DPO, start, pairs)
    assert plan.name == f"model@{plan.identity.fingerprint[:8]}"
    assert plan.output(preferring.folder).record == preferring.record
    assert preferring.record.identity == f"train:{plan.identity.fingerprint[:32]}"
    following = job(DPO, plan.output(place / "unmade"), pairs)
    assert following.identity.models["start"].identity == preferring.record.identity


@pytest.mark.parametrize(
    ("change", "same"),
    [({"learning_rate": 5e-7}, True), ({"reference": "start"}, True), ({"learning_rate": 1e-6}, False), ({"trl": {"weight_decay": 0.1}}, False)],
)
def test_a_default_written_out_is_the_same_training(change: dict[str, object], same: bool, start: Model, pairs: Dataset) -> None:
    plain = job(Train(), start, pairs).identity.fingerprint
    assert (job(Train.model_validate(change), start, pairs).identity.fingerprint == plain) is same


def test_an_output_of_another_training_is_left_alone(start: Model, pairs: Dataset, preferring: Model, how: Execution) -> None:
    before = content_digest(preferring.folder)
    with pytest.raises(DatasetError, match=r"another fingerprint.*beta: 0.1 -> 0.2.*another -o"):
        do_train(job(DPO.model_copy(update={"beta": 0.2}), start, pairs), preferring.folder, how)
    assert content_digest(preferring.folder) == before


def test_weights_that_changed_since_training_are_noticed(place: Path, imitating: Model, how: Execution) -> None:
    copy = place / "copy"
    copy.mkdir()
    for path in imitating.folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert find_model(str(copy)).record.identity == imitating.record.identity
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="the weights have changed since they were trained"):
        find_model(str(copy))


def test_a_dataset_is_no_model(pairs: Dataset) -> None:
    with pytest.raises(ModelError, match="holds a dataset, not a model"):
        find_model(str(pairs.folder))


def test_rows_are_named_by_the_training_that_made_their_model(place: Path, imitating: Model, how: Execution) -> None:
    prompts = place / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": "say 3", "answer": "yes 3"}) + "\n")
    made = run(Seed.model_validate({"sampling": {"max_tokens": 4}}), str(prompts), model=str(imitating.folder), execution=how)
    assert made.scan().collect().get_column("policy").to_list() == [f"train:{record(imitating).fingerprint[:32]}"]


def test_pairs_of_another_model_are_refused_unless_they_are_listed(place: Path, start: Model, how: Execution) -> None:
    own = start.record.identity
    mixed = made_dataset(place / "mixed", "pairs", [pair(1, own), pair(2, OTHER), pair(3, OTHER), pair(4, None)])
    with pytest.raises(RecipeError, match=rf"3 of 4 pairs .*{own}: 1 by given, 2 by {OTHER}.*--allow-policies given --allow-policies {OTHER}"):
        do_train(job(DPO, start, mixed), place / "refused", how)
    assert not (place / "refused").exists()
    listed = DPO.model_copy(update={"allow_policies": ("given", OTHER)})
    assert record(do_train(job(listed, start, mixed), place / "listed", how)).rows == 4


def test_rounds_are_trained_on_together(place: Path, start: Model, pairs: Dataset, how: Execution) -> None:
    earlier = made_dataset(place / "earlier", "pairs", [pair(20, OTHER), pair(21, OTHER)])
    model = do_train(job(DPO.model_copy(update={"allow_policies": (OTHER,)}), start, pairs, earlier), place / "both", how)
    assert record(model).rows == 13
    assert [each.fingerprint for each in record(model).identity.inputs] == [pairs.manifest.fingerprint, earlier.manifest.fingerprint]


def test_a_table_of_the_wrong_kind_is_refused(start: Model, pairs: Dataset, examples: Dataset) -> None:
    with pytest.raises(SchemaError, match="holds examples; train with objective dpo reads pairs; give --objective sft"):
        job(DPO, start, examples)
    with pytest.raises(SchemaError, match="holds pairs; train with objective sft reads examples; give --objective dpo"):
        job(SFT, start, pairs)


@pytest.mark.parametrize(
    ("objective", "key", "value", "message"),
    [
        ("dpo", "warmup_step", 3, "trl.warmup_step: no key of trl.DPOConfig; the nearest is trl.warmup_steps (got 3)"),
        ("sft", "max_lenght", 9, "trl.max_lenght: no key of trl.SFTConfig; the nearest is trl.max_length, which has a key of its own; use max_tokens (got 9)"),
        ("dpo", "zzz", 1, "trl.zzz: no key of trl.DPOConfig (got 1)"),
        ("dpo", "num_train_epochs", 3, "trl.num_train_epochs: has a key of its own; use epochs (got 3)"),
        ("dpo", "weight_decay", "much", "trl.weight_decay: Input should be a valid number (got much)"),
        ("dpo", "loss_type", "simpo", "trl.loss_type: no loss of trl.DPOTrainer; it has sigmoid, "),
        ("sft", "lr_scheduler_type", "cosin", "trl: trl.SFTConfig refuses this: cosin is not a valid SchedulerType"),
    ],
)
def test_a_key_that_trl_does_not_take_is_a_fault_with_the_right_one(objective: str, key: str, value: str | int, message: str) -> None:
    (fault,) = trl_faults(Train.model_validate({"objective": objective, "trl": {key: value}}))
    assert str(fault).startswith(message)


def test_keys_that_trl_takes_reach_it(place: Path, start: Model, pairs: Dataset, how: Execution) -> None:
    options = Train.model_validate({"batch_rows": 4, "sft_weight": 0.5, "trl": {"weight_decay": 0.1, "max_steps": 2}})
    config = record(do_train(job(options, start, pairs), place / "keys", how)).config
    assert isinstance(config, dict)
    assert {name: config[name] for name in ("weight_decay", "max_steps", "loss_type", "loss_weights", "learning_rate", "bf16")} == {
        "weight_decay": 0.1,
        "max_steps": 2,
        "loss_type": ["sigmoid", "sft"],
        "loss_weights": [1.0, 0.5],
        "learning_rate": 5e-7,
        "bf16": False,
    }
    assert str(place) not in json.dumps(config)


def test_a_lora_training_writes_a_whole_model_with_its_adapter_beside(place: Path, start: Model, pairs: Dataset, how: Execution) -> None:
    options = DPO.model_copy(update={"lora": Lora(rank=4)})
    model = do_train(job(options, start, pairs), place / "lora", how)
    assert curve(model, "rewards/margins")[0] == 0.0
    assert difference(model.folder, start.folder) > 1e-4
    assert str(place) not in (model.folder / "adapter" / "adapter_config.json").read_text()
    assert find_model(str(model.folder)).adapter is None


def test_all_but_the_weights_is_the_start_byte_for_byte(start: Model, preferring: Model) -> None:
    copied = {path.name for path in start.folder.iterdir()} - {"model.safetensors"}
    assert copied == {"chat_template.jinja", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert all((preferring.folder / name).read_bytes() == (start.folder / name).read_bytes() for name in copied)
    assert {path.name for path in preferring.folder.iterdir()} == {*copied, "model.safetensors", "README.md", "log.parquet", "manifest.json"}


def test_weights_are_written_in_the_type_of_the_start(place: Path, examples: Dataset, how: Execution) -> None:
    folder = write_model(place / "half")
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    model = do_train(job(SFT, find_model(str(folder)), examples), place / "from-half", how)
    assert {weight.dtype for weight in load_file(model.folder / "model.safetensors").values()} == {torch.bfloat16}


def test_the_card_names_start_data_and_numbers_but_no_place(place: Path, start: Model, pairs: Dataset, preferring: Model) -> None:
    card = (preferring.folder / "README.md").read_text()
    for told in (start.record.identity, preferring.record.identity, pairs.manifest.fingerprint[:32], "rewards/margins", "11 rows", "| beta | `0.1` |"):
        assert told in card
    assert str(place) not in card


def test_a_loss_that_is_no_number_stops_the_training(place: Path, start: Model, examples: Dataset, how: Execution) -> None:
    with pytest.raises(EngineError, match=r"the loss is (nan|inf) at step \d; lower learning_rate"):
        do_train(job(SFT.model_copy(update={"learning_rate": 1e30}), start, examples), place / "broken", how)


def test_the_command_prints_the_model_folder_last(
    place: Path, start: Model, pairs: Dataset, preferring: Model, how: Execution, caplog: pytest.LogCaptureFixture
) -> None:
    if "train" not in [command.name for command in app.registered_commands]:
        add_train(app)
    asked = ["train", "-", "--model", str(start.folder), "-o", str(preferring.folder), "--batch-rows", "4", "--epochs", "2", "--learning-rate", "1e-3"]
    with caplog.at_level(logging.INFO):
        done = CliRunner().invoke(app, asked, input=f"{pairs.folder}\n")
    assert (done.exit_code, done.stdout.split("\n")[-2]) == (0, str(preferring.folder))
    summary = json.loads(CliRunner().invoke(app, [*asked, "--json"], input=f"{pairs.folder}\n").stdout)
    assert (summary["model"], summary["rows"]) == (preferring.record.identity, 11)
    nameless = CliRunner().invoke(app, ["train", str(pairs.folder)])
    assert (nameless.exit_code, f"these pairs are by {start.record.identity}" in nameless.stderr) == (2, True)
    wrong = CliRunner().invoke(app, [*asked, "--trl", "warmup_step=3"], input=f"{pairs.folder}\n")
    assert (wrong.exit_code, "the nearest is trl.warmup_steps" in wrong.stderr) == (1, True)


def test_the_training_libraries_are_imported_only_to_train() -> None:
    assert "trl" in sys.modules
    import subprocess

    told = "import sgpo_data.training.job, sgpo_data.cli.train, sys; sys.exit(not {'torch', 'trl', 'transformers', 'datasets', 'peft'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("during", ["training_step", "save_model"])
def test_a_ctrl_c_that_a_destructor_drops_stops_the_training_all_the_same(
    during: str, start: Model, pairs: Dataset, preferring: Model, how: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dropping:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    # As in a terminal: a shell that runs the tests in the background has them ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    calls: list[str] = []
    undisturbed = getattr(Trainer, during)

    def interrupted(*given: object, **named: object) -> object:
        if not calls:
            Dropping()
        calls.append(during)
        return undisturbed(*given, **named)

    monkeypatch.setattr(Trainer, during, interrupted)
    with pytest.raises(KeyboardInterrupt):
        do_train(job(DPO, start, pairs), tmp_path / "model", how)
    # An optimizer step is whole before it stops, and a pair at a time is computed beside an SFT loss.
    assert len(calls) == (DPO.batch_rows if during == "training_step" else 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = do_train(job(DPO, start, pairs), tmp_path / "model", how)
    assert content_digest(resumed.folder) == content_digest(preferring.folder)
