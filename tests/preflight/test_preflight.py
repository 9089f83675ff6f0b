"""Claims about preflight: a sound recipe passes, and each spoilt one fails first on the line that is about it."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_model import FakeModel, opens
from safetensors.torch import load_file, save_file
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.engines import GenerateRequest, Generation
from sgpo_data.execution import Execution
from sgpo_data.preflight.check import Bound, Check
from sgpo_data.preflight.likelihood import auc
from sgpo_data.preflight.preflight import preflight
from sgpo_data.preflight.spoilt import spoilt_texts
from sgpo_data.running.engines import OpenModel, open_model
from sgpo_data.toy.corpus import prompts
from sgpo_data.toy.model import base_model

ROWS = 8
SAMPLED = """
model = "model"
[[phases]]
name = "improver"
[phases.source]
path = "prompts.jsonl"
[phases.seed]
sampling.max_tokens = 64
[phases.improve]
sampling.max_tokens = 64
[phases.score-ppl]
[phases.filter]
gates.min_edited_words = 2
[phases.pair]
kind = "examples"
[phases.train]
objective = "sft"
max_tokens = 512
"""
GIVEN = """
model = "model"
[[phases]]
name = "policy"
[phases.source]
path = "pairs.jsonl"
[phases.pair]
[phases.train]
max_tokens = 512
"""
WRITES_ANSWER = "{% generation %}{{- message.content + '<|im_end|>' }}{% endgeneration %}"


class Constant(FakeModel):
    """Gives one answer to everything, so that a rewrite is its draft."""

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        for answer in super().generate(requests):
            yield replace(answer, text="1 oak, 2 elm, 3 ash", tokens=8)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    base_model(tmp_path / "model")
    made = [prompt for prompt, _ in zip(prompts("preflight"), range(ROWS), strict=False)]
    write_rows(tmp_path, [{"messages": each.messages, "reference": each.reference.text} for each in made])
    pairs = [{"prompt": f"Name {number}.", "chosen": f"{number} it is.", "rejected": "No."} for number in range(ROWS)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    (tmp_path / "x.toml").write_text(SAMPLED)
    return tmp_path


def write_rows(place: Path, rows: list[dict[str, object]]) -> None:
    (place / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def checks(place: Path, *, device_memory: float | None = None, opener: OpenModel = open_model) -> list[Check]:
    how = Execution(root=place / "runs", progress="none", device="cpu", batch_tokens=2048)
    return preflight(place / "x.toml", how, rows=ROWS, device_memory=device_memory, open_model=opener)


def failed(found: list[Check]) -> list[str]:
    return [each.name for each in found if each.verdict == "fail"]


def edited(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(place: Path) -> None:
        text = (place / name).read_text(encoding="utf-8")
        assert old in text
        (place / name).write_text(text.replace(old, new), encoding="utf-8")

    return edit


def shuffle_references(place: Path) -> None:
    rows = [json.loads(line) for line in (place / "prompts.jsonl").read_text().splitlines()]
    write_rows(place, [{**row, "reference": rows[at - 1]["reference"]} for at, row in enumerate(rows)])


def stop_at_once(place: Path) -> None:
    path = place / "model" / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": list(range(1000))}))


def give_pairs(place: Path) -> None:
    (place / "x.toml").write_text(GIVEN)


def lose_weights(place: Path) -> None:
    path = place / "model" / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, path, metadata={"format": "pt"})


def leave(place: Path) -> None:
    """Nothing is spoilt in the files."""


def test_a_sound_recipe_passes_and_a_second_preflight_makes_nothing_again(place: Path) -> None:
    found = checks(place)
    assert failed(found) == []
    assert {each.name for each in found if each.verdict == "pass"} >= {
        "weights", "template end of turn", "template reasoning", "answers stop (improver)", "refine changes drafts (improver)",
        "ppl tells references from shuffled", "ppl tells references from foreign", "memory generate", "memory train (improver)", "disk",
    }  # fmt: skip

    def never(*_: object) -> FakeModel:
        raise AssertionError("a model was loaded again")

    again = checks(place, opener=never)
    # The cost that is left is told from what was measured, which does not change by reading it.
    assert [(each.name, each.verdict, each.value) for each in again] == [(each.name, each.verdict, each.value) for each in found]


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        pytest.param(edited("model/chat_template.jinja", WRITES_ANSWER, "{{- message.content }}"), "template end of turn", id="no end of turn"),
        pytest.param(
            edited("model/chat_template.jinja", "message.content + '<|im_end|>' }}{% end", "message.content.split('</think>')[-1] + '<|im_end|>' }}{% end"),
            "template reasoning",
            id="reasoning dropped",
        ),
        pytest.param(shuffle_references, "ppl tells references from shuffled", id="shuffled references"),
        pytest.param(stop_at_once, "answers empty (improver)", id="empty answers"),
        pytest.param(edited("x.toml", "[phases.seed]", "[phases.seed]\ncontext_tokens = 32"), "context seed (improver)", id="too short a context"),
        pytest.param(give_pairs, "policy of pairs (policy-1)", id="off-policy pairs"),
        pytest.param(lose_weights, "weights", id="wrong weights"),
    ],
)
def test_a_spoilt_recipe_fails_first_on_its_line(spoil: Callable[[Path], None], line: str, place: Path) -> None:
    spoil(place)
    assert failed(checks(place))[:1] == [line]


def test_a_refiner_that_copies_fails(place: Path) -> None:
    assert failed(checks(place, opener=opens(Constant())))[:1] == ["refine changes drafts (improver)"]


def test_a_device_that_is_too_small_fails(place: Path) -> None:
    assert failed(checks(place, device_memory=0.01, opener=opens(Constant())))[-2:] == ["memory generate", "memory train (improver)"]


def test_the_command_exits_3_with_the_line_and_what_to_change(place: Path) -> None:
    lose_weights(place)
    ran = CliRunner().invoke(app, ["preflight", str(place / "x.toml"), "--root", str(place / "runs"), "--rows", "4", "--json"])
    assert ran.exit_code == 3
    told = json.loads(ran.stdout)
    assert [each["name"] for each in told["checks"] if each["verdict"] == "fail"] == ["weights"]
    assert "the weights lack model.layers.0.mlp.up_proj.weight" in ran.stderr
    assert "give the weights that go with the config" in ran.stderr


@pytest.mark.parametrize(
    ("good", "bad", "expected"), [([1.0, 2.0], [3.0, 4.0], 1.0), ([3.0, 4.0], [1.0, 2.0], 0.0), ([1.0, 3.0], [2.0, 3.0], 0.625), ([1.0], [1.0], 0.5)]
)
def test_auc_is_the_share_of_pairs_in_order_with_ties_by_half(good: list[float], bad: list[float], expected: float) -> None:
    assert auc(good, bad) == expected


@pytest.mark.parametrize(
    ("number", "least", "verdict"), [(0.9, True, "pass"), (0.8, True, "warn"), (0.4, True, "fail"), (0.4, False, "pass"), (0.55, False, "pass")]
)
def test_a_number_is_held_against_both_bounds(number: float, least: bool, verdict: str) -> None:
    bound = Bound(warn=0.85, fail=0.5) if least else Bound(warn=0.6, fail=0.8, least=False)
    assert bound.verdict(number) == verdict


def test_a_shuffled_reference_is_never_the_reference_itself_where_there_is_another() -> None:
    texts = ["a b c", "a b c", "a b c", "d"]
    assert [spoilt_texts(texts, at)["shuffled"] for at in range(4)] == ["d", "d", "d", "a b c"]
    assert spoilt_texts(texts, 0)["truncated"] == "a b"
    assert spoilt_texts(texts, 3)["repeated"] == "d d d"
