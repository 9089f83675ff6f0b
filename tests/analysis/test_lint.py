"""Claims about lint: each check by pairs that trip it and no other, what it reads, and what a chain sees of it."""

import json
import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from literal_rows import prompt_id, row
from made import made_dataset
from sgpo_data.cli.main import app
from typer.testing import CliRunner, Result

from sgpo_data.analysis.lint import FLAGS, LintFinding, lint
from sgpo_data.analysis.options import LintThresholds
from sgpo_data.errors import DatasetError, SchemaError
from sgpo_data.execution import Execution
from sgpo_data.references.dataset import source_of
from sgpo_data.running.runner import run
from sgpo_data.stages.improve.templates import load_template
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.store.dataset import Dataset
from sgpo_data.text.words import words

Pairs = dict[str, object]

SUBJECTS = ("cats", "rain", "old maps", "bread", "the sea", "two clocks", "stone walls", "a choir", "winter", "glass", "horses", "dry wells")
VERBS = ("carry", "answer", "follow", "remember", "outlast", "surround", "interrupt", "resemble", "forgive", "measure", "delay", "cover")


def answer(number: int, other: int, sentences: int = 3) -> str:
    """Sentences of their own for every two numbers."""
    said = []
    for at in range(sentences):
        first, second = SUBJECTS[(number + at) % 12], SUBJECTS[(other + 5 * at + 1) % 12]
        said.append(f"{first.capitalize()} {VERBS[(number * 7 + other + at) % 12]} {second} in year {number * 31 + other * 7 + at} or later.")
    return " ".join(said)


def pair(number: int, **given: object) -> Pairs:
    """A pair that no check has anything against."""
    told: dict[str, object] = {
        "asked": f"Write something about {SUBJECTS[number % 12]}, number {number}.",
        "chosen": answer(number, 3),
        "rejected": answer(number, 8),
    }
    told |= given
    asked, chosen, rejected = told.pop("asked"), told.pop("chosen"), told.pop("rejected")
    columns: dict[str, object] = {
        "prompt_id": prompt_id(str(number)),
        "sample": 0,
        "prompt": [{"role": "user", "content": asked}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "chosen_nll": 20.0,
        "chosen_tokens": 30,
        "rejected_nll": 25.0,
        "rejected_tokens": 30,
        "edited_words": None,
        "source": "x.jsonl",
    }
    return {**columns, **told}


def pairs(change: Callable[[int], dict[str, object]] = lambda _: {}, changed: int = 0) -> list[Pairs]:
    """Twenty pairs, the first few of them changed."""
    return [pair(number, **(change(number) if number < changed else {})) for number in range(20)]


def found(folder: Path, rows: list[Pairs], table: str = "pairs", **thresholds: float) -> dict[str, LintFinding]:
    dataset = made_dataset(folder / "d", table, rows, part_rows=7)
    return {
        each.check: each
        for each in lint(dataset, LintThresholds.model_validate({"min_rows": 0, **thresholds}), filtered=source_of(dataset, "filtered", folder))
    }


def failed(findings: dict[str, LintFinding]) -> list[str]:
    return [check for check, each in findings.items() if each.verdict in ("failed", "warn")]


def test_good_pairs_fail_nothing_and_every_check_is_told(tmp_path: Path) -> None:
    findings = found(tmp_path, pairs())
    assert failed(findings) == []
    assert list(findings) == ["length_bias", *FLAGS, "distinct_2"]
    assert findings["reference_leak"].value is None
    assert {each.flag for each in findings.values()} | {"min_edit", "min_rows"} == set(LintThresholds.model_fields)


LONG_QUESTION = "Explain to a child why the sea is salt and the rivers that feed it are not, in your own words."


def json_answer(n: int, last: int) -> str:
    """Many words and marks, few of them between spaces."""
    return json.dumps({f"k{key}": [n, key] for key in range(30)} | {"last": last}, separators=(",", ":"))


TRIPS: dict[str, tuple[str, Callable[[int], dict[str, object]]]] = {
    "one word is changed": ("near_identical", lambda n: {"rejected": answer(n, 3, 3), "chosen": answer(n, 3, 3).replace("later", "sooner", 1)}),
    "only a mark is changed": ("near_identical", lambda n: {"rejected": answer(n, 3), "chosen": answer(n, 3)[:-1] + "!"}),
    "one number of a JSON answer is changed": (
        "near_identical",
        lambda n: {"rejected": json_answer(n, 0), "chosen": json_answer(n, 1), "edited_words": 1},
    ),
    "measured as near": ("near_identical", lambda n: {"rejected": answer(n, 3), "chosen": answer(n, 3)[:-1] + "!", "edited_words": 1}),
    "the prompt is repeated": ("prompt_leak", lambda n: {"asked": LONG_QUESTION, "chosen": f"{LONG_QUESTION}\n\n{answer(n, 3, 2)}"}),
    "sorry": ("refusal", lambda n: {"chosen": f"I'm sorry, but I can't help with that. {answer(n, 3, 2)}"}),
    "cannot": ("refusal", lambda n: {"chosen": f"I cannot write about this. {answer(n, 3, 2)}"}),
    "as an AI": ("refusal", lambda n: {"chosen": f"As an AI language model, there is no opinion of mine. {answer(n, 3, 2)}"}),
    "unfortunately": ("refusal", lambda n: {"chosen": f"“Unfortunately, I am unable to say. {answer(n, 3, 2)}"}),
    "cut in a word": ("truncated", lambda n: {"chosen": f"{answer(n, 3)} And so it goes on until the old walls of the tow"}),
    "cut at a comma": ("truncated", lambda n: {"chosen": f"{answer(n, 3)} And so it goes on until the old walls of the town,"}),
    "an open code block": ("truncated", lambda n: {"chosen": f"{answer(n, 3)}\n```python\nprint({n})\n"}),
    "a template token": ("residue", lambda n: {"chosen": f"{answer(n, 3)}<|im_end|>"}),
    "the question is repeated in other quotes": (
        "prompt_leak",
        lambda n: {"asked": "Translate 'thank you' into Spanish.", "chosen": f"Translate “thank you” into Spanish. {answer(n, 3, 2)}"},
    ),
    "words of a template": ("residue", lambda n: {"chosen": f"{answer(n, 3)} Rewrite the draft so that it is clear. {answer(n, 4)}"}),
    "a heading of a template": ("residue", lambda n: {"chosen": f"{answer(n, 3, 2)}\n\n**Reference**\n{answer(n, 4, 2)}"}),
    "an edit that is spoken of": ("residue", lambda n: {"chosen": f"{answer(n, 3, 2)}\n\nI made a minor edit to the original text."}),
    "a template token in rejected": ("residue", lambda n: {"rejected": f"[INST] {answer(n, 8)}"}),
    "talk about the rewrite": ("residue", lambda n: {"chosen": f"Here is the improved answer: {answer(n, 3)}"}),
    "a replacement character": ("damaged", lambda n: {"chosen": answer(n, 3).replace("year", "ye�r", 1)}),
    "UTF-8 read as Latin-1": ("damaged", lambda n: {"rejected": answer(n, 8).replace("later", "cafÃ©", 1)}),
    "a control character": ("damaged", lambda n: {"chosen": answer(n, 3).replace(" ", " \x07", 1)}),
    "endless lines": ("damaged", lambda n: {"chosen": answer(n, 3).replace(" ", "\n" * 9, 1)}),
    "Russian for English": (
        "other_script",
        lambda n: {"chosen": f"Кошки, дождь и старые карты помнят год {n}. Море окружает хлеб, и зима длится дольше, чем год {n * 3}. Стены стоят."},
    ),
    "English for Chinese": ("other_script", lambda n: {"asked": f"请写一段关于大海的文字，第{n}号"}),
    "one answer for all": ("repeated", lambda n: {"chosen": answer(99, 3)}),
    "a blank answer": ("empty", lambda n: {"rejected": " \n"}),
}


@pytest.mark.parametrize("case", TRIPS)
def test_each_check_is_tripped_by_its_own_fault_alone(case: str, tmp_path: Path) -> None:
    check, change = TRIPS[case]
    findings = found(tmp_path, pairs(change, changed=3), max_length_effect=3.0)
    assert failed(findings) == [check], findings
    assert findings[check].value == pytest.approx(3 / 20)
    assert findings[check].example == min(f"{prompt_id(str(number))}/0" for number in range(3))


SPARED: dict[str, dict[str, object]] = {
    "a list": {"chosen": f"{answer(1, 3)}\n\n1. bread and butter for the morning after\n2. honey and whatever the bees leave behind"},
    "a short last line": {"chosen": f"{answer(1, 3)}\n\nYours\nAnna"},
    "a whole code block": {"chosen": f"{answer(1, 3)}\n```python\nprint(1)\n```"},
    "a number at the end": {"chosen": f"{answer(1, 3)} In all that is a sum, counted twice over, of 42"},
    "sorry in the middle": {"chosen": f"{answer(1, 3)} She said: I'm sorry, I can't come."},
    "a short prompt": {"asked": "Cats?", "chosen": f"Cats? {answer(1, 3)}"},
    "a foreign word": {"chosen": f"{answer(1, 3)} Дом."},
    "accents": {"chosen": f"{answer(1, 3)} Déjà vu à Málaga — naïve, señor."},
    "Japanese for Chinese characters": {
        "asked": "日本語で海について書いてください。",
        "chosen": "海はとても広くて深いです。冬には波が高くなり、夏には穏やかになります。",
    },
}


@pytest.mark.parametrize("case", SPARED)
def test_what_only_looks_like_a_fault_is_none(case: str, tmp_path: Path) -> None:
    assert failed(found(tmp_path, [pair(1, **SPARED[case])], max_longer=1, max_length_effect=9)) == []


def test_a_short_answer_is_right_for_many_prompts(tmp_path: Path) -> None:
    assert found(tmp_path, pairs(lambda n: {"chosen": "Yes, it is."}, changed=9), max_longer=1)["repeated"].value == 0


def test_length_bias_is_cohens_d(tmp_path: Path) -> None:
    lengths = [(3 + number % 4, 1 + number % 3) for number in range(20)]
    rows = [pair(n, chosen=answer(n, 3, long), rejected=answer(n, 8, short)) for n, (long, short) in enumerate(lengths)]
    chosen, rejected = ([len(words(answer(n, other, each[side]))) for n, each in enumerate(lengths)] for side, other in ((0, 3), (1, 8)))
    expected = (statistics.mean(chosen) - statistics.mean(rejected)) / math.sqrt((statistics.variance(chosen) + statistics.variance(rejected)) / 2)
    findings = found(tmp_path, rows)
    assert findings["length_bias"].value == pytest.approx(expected)
    assert findings["longer"].value == sum(a > b for a, b in zip(chosen, rejected, strict=True)) / 20
    assert failed(findings) == ["length_bias", "longer"]
    assert failed(found(tmp_path / "turned", [{**each, "chosen": each["rejected"], "rejected": each["chosen"]} for each in rows])) == ["length_bias"]


def test_lengths_that_never_vary_are_as_far_apart_as_can_be(tmp_path: Path) -> None:
    same = [pair(number, chosen=f"Two words {number}.", rejected=f"And four words {number}.") for number in range(3)]
    assert found(tmp_path, same)["length_bias"].value == -math.inf
    assert found(tmp_path / "one", same[:1])["length_bias"].value is None


def test_less_likely_compares_nats_per_token(tmp_path: Path) -> None:
    nlls = [(30.0, 30, 10.0, 20), (30.0, 30, 40.0, 30), (None, None, 1.0, 1)]
    names = ("chosen_nll", "chosen_tokens", "rejected_nll", "rejected_tokens")
    finding = found(tmp_path, [pair(number, **dict(zip(names, each, strict=True))) for number, each in enumerate(nlls)], max_less_likely=0.4)["less_likely"]
    assert (finding.value, finding.verdict, finding.example) == (0.5, "warn", f"{prompt_id('0')}/0")
    assert finding.detail == f"1 rows; ppl {math.e:.2f} / {math.exp(statistics.median([0.5, 40 / 30, 1.0])):.2f}"


def test_collapsed_answers_are_not_diverse(tmp_path: Path) -> None:
    texts = [(f"{'So it is and so it is. ' * (30 + n % 3)}Number {n}.", f"{'It was so and it was so. ' * (30 + n % 3)}Number {n}.") for n in range(40)]
    assert failed(found(tmp_path, [pair(n, chosen=chosen, rejected=rejected) for n, (chosen, rejected) in enumerate(texts)])) == ["distinct_2"]


def test_a_rewrite_that_holds_the_reference_is_found_in_the_dataset_it_was_made_of(tmp_path: Path) -> None:
    reference = "The sea is salt because rivers carry salt into it and only water leaves."
    rows = [
        row(f"{n}", reference=reference, response=answer(n, 8), improved=f"{answer(n, 3, 2)} {reference if n in (2, 5) else 'It is.'}", dropped_by=None)
        for n in range(10)
    ]
    rows[5] |= {"dropped_by": "length", "failed_rules": ["length"]}
    filtered = made_dataset(tmp_path / "filtered", "filtered", rows)
    made = run(Pair(), str(filtered.folder), execution=Execution(root=tmp_path / "runs"))
    finding = {each.check: each for each in lint(made, LintThresholds(), filtered=source_of(made, "filtered", tmp_path))}["reference_leak"]
    assert finding.value == pytest.approx(1 / 9)
    assert finding.example == f"{prompt_id('2')}/0"
    filtered.folder.rename(tmp_path / "elsewhere")
    assert {each.check: each.value for each in lint(made, LintThresholds(), filtered=source_of(made, "filtered", tmp_path))}["reference_leak"] is None


def test_words_of_the_template_that_was_used_are_residue(tmp_path: Path) -> None:
    rows = pairs(lambda n: {"chosen": f"Mend the museum guide's masts. {answer(n, 3, 2)}"}, changed=3)
    dataset, improved = made_dataset(tmp_path / "pairs", "pairs", rows), made_dataset(tmp_path / "improved", "improved", [row()])
    identity = improved.manifest.identity.model_copy(update={"fields": {"improve_template": "Mend the museum guide's sentence. {{ response }}"}})
    used = replace(improved, manifest=improved.manifest.model_copy(update={"identity": identity}))
    assert failed({each.check: each for each in lint(dataset, LintThresholds(), filtered=None, improved=used)}) == ["residue"]
    assert failed({each.check: each for each in lint(dataset, LintThresholds(), filtered=None)}) == []


def test_an_example_of_rewriting_may_use_words_of_its_request_and_not_of_its_template(tmp_path: Path) -> None:
    def example(number: int, request: str, text: str) -> dict[str, object]:
        prompt = load_template("improve").render([{"role": "user", "content": request}], response=answer(number, 8))
        turns = {"prompt": prompt, "completion": [{"role": "assistant", "content": text}]}
        return {"prompt_id": prompt_id(str(number)), "sample": 0, "kind": "improve", "source": "x", "policy": "model", **turns}

    said = "I made a small change to the text. "
    rows = [example(n, "Shorten this text: it rains and it rains.", f"{said}{answer(n, 3)}") for n in range(3)]
    assert found(tmp_path / "a", rows, table="examples")["residue"].value == 0
    rows = [example(n, "Write something.", f"{said}{answer(n, 3)}") for n in range(3)]
    assert found(tmp_path / "b", rows, table="examples")["residue"].value == 1
    rows = [example(n, "Write something.", f"Keep what is good in the draft. {answer(n, 3)}") for n in range(3)]
    assert found(tmp_path / "c", rows, table="examples")["residue"].value == 1


def test_examples_are_checked_as_far_as_they_have_one_answer(tmp_path: Path) -> None:
    def example(number: int, kind: str, text: str) -> dict[str, object]:
        prompt = [{"role": "user", "content": LONG_QUESTION}]
        return {
            "prompt_id": prompt_id(str(number)),
            "sample": 0,
            "kind": kind,
            "prompt": prompt,
            "completion": [{"role": "assistant", "content": text}],
            "source": "x",
            "policy": "model" if kind == "improve" else None,
        }

    rows = [example(number, "reference", answer(number, 3)) for number in range(18)]
    rows += [example(18, "improve", f"{LONG_QUESTION} {answer(18, 3)}"), example(19, "reference", f"{LONG_QUESTION} {answer(19, 3)}")]
    findings = found(tmp_path, rows, table="examples")
    assert failed(findings) == ["prompt_leak"]
    assert findings["prompt_leak"].value == pytest.approx(1 / 19)
    assert {check for check, each in findings.items() if each.value is None} == {"length_bias", "longer", "near_identical", "reference_leak", "less_likely"}


def test_neither_order_nor_batch_changes_what_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pairs(TRIPS["sorry"][1], changed=5)
    first = found(tmp_path / "a", rows)
    monkeypatch.setattr("sgpo_data.analysis.lint.BATCH_ROWS", 3)
    second = found(tmp_path / "b", rows[::-1])
    assert {check: (each.verdict, each.example, each.detail) for check, each in first.items()} == {
        check: (each.verdict, each.example, each.detail) for check, each in second.items()
    }
    assert {check: each.value for check, each in first.items()} == pytest.approx({check: each.value for check, each in second.items()})


def test_other_tables_no_rows_and_a_broken_part_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="holds scored; lint reads pairs or examples"):
        lint(made_dataset(tmp_path / "a", "scored", [row()]), LintThresholds(), filtered=None)
    with pytest.raises(DatasetError, match="has no rows"):
        lint(made_dataset(tmp_path / "b", "pairs", []), LintThresholds(), filtered=None)
    broken = made_dataset(tmp_path / "c", "pairs", pairs(), part_rows=20)
    whole = broken.paths[0].read_bytes()
    broken.paths[0].write_bytes(whole[:500] + bytes(len(whole) - 1500) + whole[-1000:])
    with pytest.raises(DatasetError, match=r"sgpo check .* tells what is broken"):
        lint(broken, LintThresholds(), filtered=None)


def shown(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["lint", *arguments], input=stdin, env={"COLUMNS": "120"})


@pytest.fixture
def good(tmp_path: Path) -> Dataset:
    """Seven of twenty chosen are longer, seven of twenty rejected."""
    return made_dataset(
        tmp_path / "good", "pairs", [pair(n, chosen=answer(n, 3, 3 + (n % 3 == 0)), rejected=answer(n, 8, 3 + (n % 3 == 1))) for n in range(20)]
    )


def test_what_passes_is_handed_on_and_what_fails_is_not(good: Dataset) -> None:
    passed = shown("-", stdin=f"{good.folder}\n")
    assert passed.exit_code == 0
    assert passed.stdout.splitlines()[-1] == str(good.folder)
    assert passed.stderr == ""
    refused = shown(str(good.folder), "--max_longer", "0.1")
    assert refused.exit_code == 3
    assert len(refused.stdout.splitlines()) == 15
    assert str(good.folder) not in refused.stdout
    assert f"{good.folder}: 1 of 14 checks failed: longer " in refused.stderr
    assert "(max_longer = 10.0%)" in refused.stderr


def test_too_few_rows_warn_and_are_handed_on(tmp_path: Path) -> None:
    few = made_dataset(tmp_path / "few", "pairs", [pair(n, chosen=answer(n, 3, 4)) for n in range(6)])
    warned = shown(str(few.folder))
    assert warned.exit_code == 0
    assert warned.stdout.splitlines()[-1] == str(few.folder)
    assert [line.split()[0] for line in warned.stdout.splitlines() if "warn" in line.split()] == ["length_bias", "longer"]
    assert f"{few.folder}: 6 rows are too few to judge (min_rows = 20), so none fails; --min-rows 6 judges them" in warned.stderr
    assert f"{few.folder}: 2 of 14 checks warn: length_bias" in warned.stderr
    assert shown(str(few.folder), "--min_rows", "6").exit_code == 3


def test_chosen_that_are_less_likely_only_warn(tmp_path: Path) -> None:
    texts = {"chosen_nll": 60.0, "rejected_nll": 20.0}
    rows = [pair(n, chosen=answer(n, 3, 3 + (n % 3 == 0)), rejected=answer(n, 8, 3 + (n % 3 == 1)), **texts) for n in range(20)]
    less = made_dataset(tmp_path / "less", "pairs", rows)
    warned = shown(str(less.folder))
    assert (warned.exit_code, warned.stdout.splitlines()[-1]) == (0, str(less.folder))
    assert warned.stderr == f"{less.folder}: 1 of 14 checks warn: less_likely 100.0% (max_less_likely = 80.0%)\n"
    report = json.loads(shown(str(less.folder), "--json").stdout)
    assert report["passed"]
    assert [(each["check"], each["passed"]) for each in report["checks"] if each["verdict"] == "warn"] == [("less_likely", True)]


def test_json_tells_every_check_whether_it_passes_or_not(good: Dataset) -> None:
    for arguments, code in (((), 0), (("--max_longer", "0.1"), 3)):
        told = shown(str(good.folder), "--json", *arguments)
        assert told.exit_code == code
        report = json.loads(told.stdout)
        assert (report["reference"], report["rows"], report["passed"]) == (str(good.folder), 20, code == 0)
        assert {each["check"]: each["passed"] for each in report["checks"]}["longer"] == (code == 0)


def test_raw_preferences_are_paired_in_the_store_first(tmp_path: Path) -> None:
    raw = tmp_path / "raw.jsonl"
    raw.write_text("".join(json.dumps({"q": f"Question {n}?", "chosen": answer(n, 3), "rejected": answer(n, 8)}) + "\n" for n in range(20)))
    told = shown(str(raw), "--root", str(tmp_path / "runs"), "--source.columns", "prompt=q")
    assert told.exit_code == 0, told.stderr
    assert told.stdout.splitlines()[-1].startswith(str(tmp_path / "runs" / "store" / "pairs@"))


def test_a_threshold_that_means_nothing_is_refused(good: Dataset) -> None:
    told = shown(str(good.folder), "--max_refusals", "1.5")
    assert told.exit_code == 2
    assert "--max-refusals: Input should be less than or equal to 1 (got 1.5)" in told.stderr
