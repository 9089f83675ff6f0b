"""Claims about marks: which prompts nearly repeat another or overlap with an evaluation set, and that nothing is made of them."""

import json
import random
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import cast

import polars as pl
import pytest
from fake_model import FakeModel, model_folder, opens
from literal_rows import checked, connect, prompt_id, row
from pydantic import ValidationError

from sgpo_data.errors import DatasetError, RecipeError, SchemaError
from sgpo_data.execution import Execution
from sgpo_data.loop.frozen import frozen_text
from sgpo_data.loop.plan import ReferenceCache, plan_recipe
from sgpo_data.loop.remade import remade
from sgpo_data.loop.script import script
from sgpo_data.recipe.file import parsed, read_recipe
from sgpo_data.rows import Row
from sgpo_data.running.runner import run
from sgpo_data.sources.near_duplicates import HASHES, RECALL, band_size
from sgpo_data.sources.options import EvaluationReference, Source
from sgpo_data.sources.prompts import PromptsJob, read_prompts
from sgpo_data.sources.source import open_source
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.improve.improve import Improve
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.stages.score_ppl import ScorePpl
from sgpo_data.stages.seed import Seed
from sgpo_data.store.dataset import faults
from sgpo_data.text.ngrams import ngrams

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"]
QUESTION = "Name three rivers of the north that freeze over in a hard winter, and say where each of them ends"


RECIPE = """
model = "model"
[[phases]]
name = "p"
[phases.source]
path = "p.jsonl"
near_duplicates = 0.8
decontaminate = ["{path}"]
[phases.seed]
"""


def written(path: Path, prompts: Iterable[object]) -> str:
    path.write_text("".join(json.dumps(each if isinstance(each, dict) else {"prompt": each}) + "\n" for each in prompts))
    return str(path)


def read(reference: str, **options: object) -> list[Row]:
    return [cast(Row, row) for batch in open_source(reference, Source.model_validate(options)).batches() for row in batch.to_pylist()]


def said(row: Row) -> str:
    return row["messages"][-1]["content"]


def duplicates(rows: list[Row]) -> dict[str, str]:
    """Text of each near duplicate, and of the prompt it repeats."""
    texts = {each["prompt_id"]: said(each) for each in rows}
    return {said(each): texts[each["duplicate_of"]] for each in rows if each["duplicate_of"] is not None}


def contaminated(rows: list[Row]) -> dict[str, str]:
    return {said(each): each["contaminated_by"] for each in rows if each["contaminated_by"] is not None}


@cache
def shingles(text: str) -> set[tuple[str, ...]]:
    found = re.findall(r"[a-z0-9]+", text.lower())
    return set(zip(found, found[1:], found[2:], strict=False))


def likeness(a: str, b: str) -> float:
    return len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))


@pytest.fixture
def mutated(tmp_path: Path) -> tuple[str, list[str]]:
    """Texts of forty to a hundred words, many of them the one before with a few words changed."""
    drawn = random.Random(3)
    vocabulary = [f"w{number}" for number in range(500)]
    texts: list[str] = []
    for _ in range(160):
        if texts and drawn.random() < 0.7:
            before = texts[-1].split()
            for _ in range(drawn.randint(1, 3)):
                before[drawn.randrange(len(before))] = drawn.choice(vocabulary)
            texts.append(" ".join(before))
        else:
            texts.append(" ".join(drawn.choices(vocabulary, k=drawn.randint(40, 100))))
    return written(tmp_path / "mutated.jsonl", texts), texts


@pytest.mark.parametrize("threshold", [0.6, 0.8, 0.9])
def test_marked_is_what_a_comparison_of_all_with_all_marks(mutated: tuple[str, list[str]], threshold: float) -> None:
    rows = read(mutated[0], near_duplicates=threshold)
    first: dict[str, str] = {}
    ordered = [said(each) for each in sorted(rows, key=lambda each: each["prompt_id"])]
    for at, text in enumerate(ordered):
        alike = next((other for other in ordered[:at] if other not in first and likeness(text, other) >= threshold), None)
        if alike is not None:
            first[text] = alike
    assert len(first) >= 20
    marked = duplicates(rows)
    assert all(likeness(text, other) >= threshold and other not in marked for text, other in marked.items())
    assert len(set(first.items()) ^ set(marked.items())) <= 0.05 * len(first)


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (QUESTION.upper() + "?!", True),
        (QUESTION.replace(" ", "  \n").replace("winter", "ｗｉｎｔｅｒ"), True),
        (QUESTION + " now", True),
        (QUESTION.replace("rivers", "lakes").replace("winter", "frost"), False),
        (" ".join(reversed(QUESTION.split())), False),
        (QUESTION + " and tell me of their fish as well, with a source for each", False),
    ],
)
def test_case_marks_and_spaces_do_not_tell_prompts_apart_and_words_do(other: str, alike: bool, tmp_path: Path) -> None:
    assert bool(duplicates(read(written(tmp_path / "x.jsonl", [QUESTION, other]), near_duplicates=0.8))) == alike


@pytest.mark.parametrize(("a", "b", "alike"), [("Hi", "hi!", True), ("Hi", "Hi you", False), ("😀", "😀 ", True), ("😀", "😂", False), ("?", "!", False)])
def test_prompts_of_a_word_or_of_none_are_alike_if_they_are_the_same(a: str, b: str, alike: bool, tmp_path: Path) -> None:
    assert bool(duplicates(read(written(tmp_path / "x.jsonl", [a, b]), near_duplicates=0.8))) == alike


def test_each_character_of_a_script_without_spaces_is_a_word(tmp_path: Path) -> None:
    a, b, c = (
        "请告诉我北方有哪三条河会在寒冬里结冰并且流向哪里",
        "请告诉我北方有哪三条河会在寒冬里结冰并且流向哪里。",
        "请告诉我南方有哪五座山会在盛夏里下雪而且高度多少",
    )
    found = duplicates(read(written(tmp_path / "x.jsonl", [a, b, c]), near_duplicates=0.8))
    assert {*found, *found.values()} == {a, b}


def test_prompts_under_another_system_turn_are_no_duplicates(tmp_path: Path) -> None:
    turns = [{"prompt": f"{QUESTION}{mark}", "system": system} for system in ("Answer in French.", "Answer in German.") for mark in ("", "!")]
    rows = read(written(tmp_path / "x.jsonl", turns), near_duplicates=0.8)
    systems = {each["prompt_id"]: each["messages"][0]["content"] for each in rows}
    pairs = [(systems[each["prompt_id"]], systems[each["duplicate_of"]]) for each in rows if each["duplicate_of"] is not None]
    assert sorted(pairs) == [("Answer in French.", "Answer in French."), ("Answer in German.", "Answer in German.")]


def test_a_long_system_turn_makes_no_prompts_alike_and_contaminates_none(tmp_path: Path) -> None:
    system = " ".join(WORDS * 3)
    path = written(tmp_path / "x.jsonl", [{"prompt": "What is up?", "system": system}, {"prompt": "Who goes there?", "system": system}])
    sets = written(tmp_path / "set.jsonl", [{"prompt": "Something else.", "system": system}])
    rows = read(path, near_duplicates=0.8, decontaminate=[sets])
    assert duplicates(rows) == contaminated(rows) == {}


def test_marks_do_not_depend_on_order_slice_or_batch(mutated: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, texts = mutated
    sets = written(tmp_path / "set.jsonl", texts[:5])

    def marks(reference: str, **options: object) -> dict[str, tuple[str | None, str | None]]:
        rows = read(reference, near_duplicates=0.8, decontaminate=[sets], **options)
        return {each["prompt_id"]: (each["duplicate_of"], each["contaminated_by"]) for each in rows}

    whole = marks(path)
    assert marks(written(tmp_path / "turned.jsonl", texts[::-1])) == whole
    sliced = [marks(path, shuffle_seed=1, offset=offset, limit=60) for offset in (0, 60, 120)]
    assert {key: mark for part in sliced for key, mark in part.items()} == whole
    for module in ("near_duplicates", "contamination"):
        monkeypatch.setattr(f"sgpo_data.sources.{module}.BATCH_ROWS", 7)
    assert marks(path) == whole


def test_marked_prompts_keep_their_places(mutated: tuple[str, list[str]]) -> None:
    path, _ = mutated
    options = {"shuffle_seed": 4, "offset": 10, "limit": 50}
    assert [each["prompt_id"] for each in read(path, **options)] == [each["prompt_id"] for each in read(path, near_duplicates=0.8, **options)]


def test_what_nearly_repeats_a_held_out_prompt_is_not_trained_on(tmp_path: Path) -> None:
    texts = [f"{QUESTION} {'!' * number}" for number in range(12)]
    path = written(tmp_path / "x.jsonl", texts)
    options: dict[str, object] = {"held_out": 0.4, "near_duplicates": 0.8}
    train, held_out = read(path, **options), read(path, take="held_out", **options)
    assert train
    assert len(train) + len(held_out) == len(texts)
    (first,) = (each["prompt_id"] for each in held_out if each["duplicate_of"] is None)
    assert first == min(each["prompt_id"] for each in held_out)
    assert {each["duplicate_of"] for each in train} == {first}


def test_what_nearly_repeats_a_contaminated_prompt_is_left_out_too(tmp_path: Path) -> None:
    sets = written(tmp_path / "set.jsonl", [" ".join(WORDS[:13])])
    cut = " ".join([*WORDS[:6], "and", *WORDS[6:]])
    rows = read(written(tmp_path / "d.jsonl", [" ".join(WORDS), cut]), near_duplicates=0.6, decontaminate=[sets])
    assert contaminated(rows) == {" ".join(WORDS): "set.jsonl"}
    assert duplicates(rows) == {cut: " ".join(WORDS)}


@pytest.mark.parametrize(
    ("prompt", "overlaps"),
    [
        ("Zero " + " ".join(WORDS[:13]) + " end", True),
        ("Zero " + ", ".join(WORDS[:13]).upper() + " end", True),
        ("Zero " + " ".join(WORDS[:12]) + " end", False),
        (" ".join(WORDS[3:16]), True),
        ("Who wrote Emma?", True),
        ("who wrote Emma", True),
        ("Who wrote Emma, and when?", False),
        ("Tell me: who wrote Emma?", False),
    ],
)
def test_thirteen_words_in_a_row_overlap_and_a_shorter_text_only_as_a_whole(prompt: str, overlaps: bool, tmp_path: Path) -> None:
    sets = written(tmp_path / "set.jsonl", [{"question": " ".join(WORDS), "answer": "x"}, {"question": "Who wrote Emma?", "answer": "y"}])
    found = contaminated(read(written(tmp_path / "x.jsonl", [prompt, "Something else."]), decontaminate=[sets]))
    assert found == ({prompt: "set.jsonl"} if overlaps else {})


def test_answers_contaminate_nothing(tmp_path: Path) -> None:
    sets = written(tmp_path / "set.jsonl", [{"prompt": "Count.", "answer": " ".join(WORDS)}])
    assert contaminated(read(written(tmp_path / "x.jsonl", [{"prompt": "Count up.", "answer": " ".join(WORDS)}, " ".join(WORDS)]), decontaminate=[sets])) == {}


def test_the_first_set_that_overlaps_is_named_and_options_go_behind_its_path(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    written(tmp_path / "folder" / "a.jsonl", [{"q": " ".join(WORDS)}])
    other = written(tmp_path / "b.jsonl", [" ".join(WORDS[2:]), "Who wrote Emma?"])
    path = written(tmp_path / "x.jsonl", [" ".join(WORDS), "who wrote emma"])
    sets = [f"{tmp_path}/folder?columns=prompt=q", f"{other}?name=emma"]
    assert contaminated(read(path, decontaminate=sets)) == {" ".join(WORDS): "folder", "who wrote emma": "emma"}
    assert contaminated(read(path, decontaminate=sets[::-1])) == {" ".join(WORDS): "emma", "who wrote emma": "emma"}


def test_a_set_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", ["hi"])
    with pytest.raises(DatasetError, match=r"evaluation set gone\.jsonl: no such file or folder"):
        read(path, decontaminate=["gone.jsonl"])
    with pytest.raises(RecipeError, match=r"two sets are called x\.jsonl; give one another name, as PATH\?name="):
        read(path, decontaminate=[path, path])
    with pytest.raises(RecipeError, match=r"evaluation set .*config is for datasets on the Hub"):
        read(path, decontaminate=[f"{path}?config=main"])
    with pytest.raises(SchemaError, match=r"evaluation set q\.jsonl: .*no shape fits .*options go behind it"):
        read(path, decontaminate=[written(tmp_path / "q.jsonl", [{"q": "hi"}])])
    with pytest.raises(SchemaError, match=r"evaluation set e\.jsonl: e\.jsonl, line 1: the prompt is empty"):
        read(path, decontaminate=[written(tmp_path / "e.jsonl", [" "])])


@pytest.mark.parametrize(
    "options",
    [
        {"near_duplicates": 0.2},
        {"near_duplicates": 1.1},
        {"decontaminate": ["x.jsonl?splitt=test"]},
        {"decontaminate": ["?split=test"]},
        {"decontaminate": ["x.jsonl?split"]},
        {"decontaminate": ["x.jsonl?shape=round"]},
        {"decontaminate": "x.jsonl"},
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Source.model_validate(options)


def test_an_entry_is_written_as_it_is_read() -> None:
    entry = "openai/gsm8k?config=main&split=test&columns=prompt=q,reference=a&name=x y"
    read_back = EvaluationReference.parsed(EvaluationReference.parsed(entry).moved(str))
    assert read_back == EvaluationReference.parsed(entry)
    assert read_back.source == Source(config="main", split="test", columns=("prompt=q", "reference=a"))
    pinned = EvaluationReference.parsed(EvaluationReference.parsed("hf://datasets/a/b@main?split=test").pinned("0" * 40))
    assert (pinned.path, pinned.source.revision, pinned.source.split) == ("hf://datasets/a/b", "0" * 40, "test")


def test_the_fingerprint_follows_what_the_sets_hold_not_where_they_lie(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", ["hi"])

    def name(*sets: str, **options: object) -> str:
        return PromptsJob(open_source(path, Source.model_validate({"decontaminate": sets, **options}))).name

    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder / "set.jsonl", ["who"])
        written(tmp_path / folder / "more.jsonl", ["what"])
    a, b, more = (str(tmp_path / place) for place in ("a/set.jsonl", "b/set.jsonl", "a/more.jsonl"))
    assert name(a) == name(b)
    plain = name(a, more)
    assert len({name(), plain, name(a), name(more, a), name(f"{a}?name=z"), name(near_duplicates=0.8), name(near_duplicates=0.9)}) == 7
    written(tmp_path / "b" / "set.jsonl", ["whose"])
    assert name(a) != name(b)


@pytest.fixture
def marked(tmp_path: Path) -> tuple[str, Source]:
    """Five prompts: two of them alike, one in an evaluation set."""
    rivers = {"prompt": QUESTION, "answer": "The Yukon, the Ob and the Lena.", "rejected": "no"}
    prompts = [
        rivers,
        {**rivers, "prompt": f"{QUESTION}?"},
        {**rivers, "prompt": " ".join(WORDS)},
        {**rivers, "prompt": "Say a."},
        {**rivers, "prompt": "Say b."},
    ]
    sets = written(tmp_path / "set.jsonl", [" ".join(WORDS)])
    return written(tmp_path / "p.jsonl", prompts), Source(near_duplicates=0.8, decontaminate=(sets,))


def test_nothing_is_generated_from_a_marked_prompt_and_every_row_stays(marked: tuple[str, Source], tmp_path: Path) -> None:
    path, source = marked
    how, model = Execution(root=tmp_path / "runs", progress="none"), FakeModel()
    base = str(model_folder(tmp_path / "model"))
    responses = run(Seed(samples=2), path, model=base, source=source, execution=how, open_model=opens(model))
    assert len(model.asked) == 6
    assert responses.manifest.outcomes == {"stop": 6, "duplicate": 2, "contaminated": 2}
    assert read_prompts(path, source, how).manifest.outcomes == {"prompt": 3, "duplicate": 1, "contaminated": 1}
    improved = run(Improve(), str(responses.folder), execution=how, open_model=opens(model))
    assert improved.manifest.outcomes == {"stop": 6, "no_response": 4}
    scored = run(ScorePpl(), str(improved.folder), execution=how, open_model=opens(model))
    filtered = run(Filter(), str(scored.folder), execution=how)
    assert [faults(each) for each in (responses, improved, scored, filtered)] == [[], [], [], []]
    rows = filtered.scan().filter(pl.col("finish").is_in(["duplicate", "contaminated"])).collect()
    assert rows.height == 4
    assert rows["dropped_by"].unique().to_list() == ["finished"]
    assert rows["response"].null_count() == rows["improved"].null_count() == 4


@pytest.mark.parametrize(("kind", "left"), [("pairs", 3), ("examples", 3)])
def test_marked_prompts_are_left_out_of_training_and_counted(kind: str, left: int, marked: tuple[str, Source], tmp_path: Path) -> None:
    path, source = marked
    made = run(Pair.model_validate({"kind": kind}), path, source=source, execution=Execution(root=tmp_path / "runs", progress="none"))
    assert made.manifest.rows == left
    assert made.manifest.facts == {"left_out.contaminated": 1.0, "left_out.duplicate": 1.0}


def test_the_reference_of_a_marked_prompt_is_not_replayed() -> None:
    marks = [row("b", duplicate_of=prompt_id("a"), finish="duplicate"), row("c", contaminated_by="set", finish="contaminated")]
    rows = [row("a"), *({**each, "response": None, "improved": None, "dropped_by": "finished", "failed_rules": ["finished"]} for each in marks)]
    made = checked(Pair(kind="examples", replay=3).table(connect("filtered", rows), "filtered"), "examples")
    assert sorted((each["prompt_id"], each["kind"]) for each in made) == sorted([(prompt_id("a"), "improve"), (prompt_id("a"), "reference")])


def test_sets_of_a_recipe_lie_beside_it_and_its_frozen_form_and_script_name_them(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    written(tmp_path / "p.jsonl", ["hi", "ho"])
    (tmp_path / "sets").mkdir()
    written(tmp_path / "sets" / "a.jsonl", ["hi"])
    text = RECIPE.format(path="sets/a.jsonl?name=a")
    (tmp_path / "x.toml").write_text(text)
    recipe, how, known = read_recipe(tmp_path / "x.toml"), Execution(root=tmp_path / "runs"), ReferenceCache()
    steps = plan_recipe(recipe, how, known=known)
    frozen = tmp_path / "runs" / "x"
    again = plan_recipe(parsed(frozen_text(recipe, steps, frozen, known=known), frozen / "recipe.toml"), how)
    assert [step.folder for step in again] == [step.folder for step in steps]
    assert f"--source.near-duplicates 0.8 --source.decontaminate '{tmp_path}/sets/a.jsonl?name=a'" in script(str(recipe.path), steps, how)
    (tmp_path / "y.toml").write_text(text.replace("sets/a", "sets/b"))
    with pytest.raises(DatasetError, match=r"phases\.1\.source\.decontaminate: evaluation set .*sets/b\.jsonl\?name=a: no such file"):
        plan_recipe(read_recipe(tmp_path / "y.toml"), how)


def test_sets_are_read_back_from_a_manifest(marked: tuple[str, Source], tmp_path: Path) -> None:
    path, source = marked
    other = written(tmp_path / "other.jsonl", [{"q": "Who wrote Emma?"}])
    how = Execution(root=tmp_path / "runs", progress="none")
    made = read_prompts(path, source.model_copy(update={"decontaminate": (*source.decontaminate, f"{other}?name=emma&columns=prompt=q&shape=prompt")}), how)
    (step,) = remade([made.manifest], [], how)
    assert step.job.identity.fingerprint == made.manifest.fingerprint
    assert isinstance(step.job, PromptsJob)
    assert [EvaluationReference.parsed(each).path for each in step.job.opened.source.decontaminate] == [*source.decontaminate, other]


def test_enough_pairs_at_the_threshold_share_a_band() -> None:
    for threshold in (0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1.0):
        size = band_size(threshold)
        assert 1 - (1 - threshold**size) ** (HASHES // size) >= RECALL
    assert (band_size(0.8), band_size(1.0)) == (7, HASHES)


def test_an_n_gram_is_the_same_wherever_it_stands_and_others_differ() -> None:
    a, b, c = ngrams(pl.Series(["one two three four", "zero one two three", "three two one"]), 3).to_list()
    assert (len(a), len(b), len(c)) == (2, 2, 1)
    assert a[0] == b[1]
    assert len({*a, *b, *c}) == 4
