"""IFEval: our numbers are those of the reference checkers, and what they need is said before anything is fetched."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from fake_model import FakeModel, model_folder, opens
from public_sets import IFEVAL, public
from sgpo_data.cli.main import app
from typer.testing import CliRunner, Result

from sgpo_data.evaluation.summary import evaluation_summary
from sgpo_data.execution import Execution
from sgpo_data.loop.loop import run_recipe
from sgpo_data.loop.rounds import open_run
from sgpo_data.store.dataset import open_dataset

nltk = pytest.importorskip("nltk", reason="the extra ifeval is not installed")
pytest.importorskip("lm_eval", reason="the extra ifeval is not installed")

WORDS = ["the", "quick", "brown", "fox", "jumps,", "over", "a", "lazy", "dog.", "Then", "it", "rests.", "Why?", "Because", "*it*", "is", "very", "tired!"]


@pytest.fixture(autouse=True)
def sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence model that knows two abbreviations: the real one has to be fetched."""
    folder = tmp_path / "nltk" / "tokenizers" / "punkt_tab" / "english"
    folder.mkdir(parents=True)
    for name, text in (("abbrev_types.txt", "dr\nmr\n"), ("collocations.tab", ""), ("sent_starters.txt", ""), ("ortho_context.tab", "")):
        (folder / name).write_text(text)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nltk")])


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def ifeval(folder: Path, answers: Path, questions: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["evaluate", "ifeval", str(answers), "--set", str(questions), "--root", str(folder / "runs"), *more])


def recorded_answer(number: int, row: dict[str, Any]) -> str:
    """An answer that follows some instructions, by a rule: what the prompt says, plus what several kinds of instruction ask for."""
    draw = random.Random(number)
    lines = [" ".join(draw.choice(WORDS) for _ in range(draw.choice([3, 30, 120]))) for _ in range(draw.choice([1, 2, 5]))]
    text = draw.choice(["\n", "\n\n", "\n\n***\n\n"]).join(lines)
    for name, given in zip(row["instruction_id_list"], row["kwargs"], strict=True):
        if draw.random() < 0.6:
            text = {
                "detectable_format:title": "<<title>>\n" + text,
                "detectable_format:number_bullet_lists": text + "\n* point" * int(given.get("num_bullets", 1)),
                "detectable_format:number_highlighted_sections": text + " *high light*" * int(given.get("num_highlights", 1)),
                "detectable_content:number_placeholders": text + " [name]" * int(given.get("num_placeholders", 1)),
                "detectable_content:postscript": text + f"\n{given.get('postscript_marker', 'P.S.')} more",
                "keywords:existence": text + " " + " ".join(given.get("keywords") or ()),
                "startend:quotation": f'"{text}"',
                "startend:end_checker": f"{text} {given.get('end_phrase', '')}\n*",
                "punctuation:no_comma": text.replace(",", ""),
                "change_case:english_lowercase": text.lower(),
                "change_case:english_capital": text.upper(),
                "combination:repeat_prompt": f"{given.get('prompt_to_repeat', '')}\n{text}",
                "combination:two_responses": f"{text}\n******\nother {text}",
                "detectable_format:json_format": '```json\n{"a": 1}\n```',
                "detectable_format:constrained_response": "My answer is yes.",
            }.get(name, text)
    return text if number % 50 else ""


def test_all_541_prompts_get_what_the_reference_checkers_give(tmp_path: Path) -> None:
    questions = public(IFEVAL)
    import langdetect
    from eval_framework.tasks.ifeval import evaluation

    rows = [json.loads(line) for line in questions.read_text(encoding="utf-8").splitlines()]
    answers = jsonl(tmp_path / "answers.jsonl", [{"prompt": row["prompt"], "response": recorded_answer(number, row)} for number, row in enumerate(rows)])
    result = ifeval(tmp_path, answers, questions, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)

    langdetect.DetectorFactory.seed = 0
    inputs, responses = evaluation.read_prompt_list(questions), evaluation.read_prompt_to_response_dict(answers)
    assert len(inputs) == 541
    grades = open_dataset(Path(found["reference"])).scan().collect()
    for metric in ("strict", "loose"):
        expected = []
        for each in inputs:
            # The reference draws a letter where a question asks for one that is none, so that by itself it does not repeat its own numbers.
            random.seed(f"ifeval/{each.key}")
            expected.append(getattr(evaluation, f"test_instruction_following_{metric}")(each, responses))
        ours = {(row["item"], row["part"]): row["value"] for row in grades.filter(metric=metric).to_dicts()}
        theirs = {(str(each.key), part): float(met) for each, of in zip(inputs, expected, strict=True) for part, met in enumerate(of.follow_instruction_list)}
        assert ours == theirs
        assert found["prompts"][metric]["met"] == sum(of.follow_all_instructions for of in expected)
        assert found["prompts"][metric]["of"] == 541
        assert found["instructions"][metric]["of"] == 834
        assert found["instructions"][metric]["low"] < sum(theirs.values()) / 834 < found["instructions"][metric]["high"]
    assert 100 < found["instructions"]["strict"]["met"] < found["instructions"]["loose"]["met"] < 734


RECIPE = """
model = "./model"
[[phases]]
name = "policy"
start_from = "recipe"
[phases.source]
path = "prompts.jsonl"
[phases.seed]
[phases.evaluate]
set = "ifeval.jsonl"
"""


def test_a_recipe_that_evaluates_on_ifeval_gets_the_grades_of_the_reference_checkers(tmp_path: Path) -> None:
    import langdetect
    from eval_framework.tasks.ifeval import evaluation

    asked = [json.loads(line) for line in public(IFEVAL).read_text(encoding="utf-8").splitlines()[:25]]
    questions = jsonl(tmp_path / "ifeval.jsonl", asked)
    jsonl(tmp_path / "prompts.jsonl", [{"prompt": "Say one.", "answer": "one"}])
    model_folder(tmp_path / "model")
    (tmp_path / "x.toml").write_text(RECIPE)
    how = Execution(root=tmp_path / "runs", progress="none")
    run_recipe(tmp_path / "x.toml", how, open_model=opens(FakeModel()))
    place = how.root / "x" / "policy-1"
    answers = [{"prompt": row["messages"][0]["content"], "response": row["response"]} for row in open_dataset(place / "answers").rows()]

    langdetect.DetectorFactory.seed = 0
    inputs, responses = evaluation.read_prompt_list(questions), evaluation.read_prompt_to_response_dict(jsonl(tmp_path / "answers.jsonl", answers))
    expected = []
    for each in inputs:
        # As above: the reference draws where a question asks for what is no letter.
        random.seed(f"ifeval/{each.key}")
        expected.append(evaluation.test_instruction_following_strict(each, responses).follow_instruction_list)
    grades = open_dataset(place / "grades").scan().collect().filter(metric="strict").to_dicts()
    assert len(inputs) == 25
    assert {(row["item"], row["part"]): row["value"] for row in grades} == {
        (str(each.key), part): float(met) for each, of in zip(inputs, expected, strict=True) for part, met in enumerate(of)
    }
    found = evaluation_summary(open_run("x", how.root).rounds[-1].datasets)
    assert found is not None
    assert found.ifeval is not None
    assert found.ifeval.prompts["strict"].met == sum(all(of) for of in expected) > 0
    assert "prompts followed, strict" in [number.name for number in found.numbers]


QUESTIONS: list[dict[str, Any]] = [
    {"key": 1, "prompt": "No comma, two bullets.", "instruction_id_list": ["punctuation:no_comma", "detectable_format:number_bullet_lists"],
     "kwargs": [{}, {"num_bullets": 2}]},
    {"key": 2, "prompt": "A title.", "instruction_id_list": ["detectable_format:title"], "kwargs": [{}]},
]  # fmt: skip


def test_a_prompt_counts_if_all_its_instructions_are_followed(tmp_path: Path) -> None:
    questions = jsonl(tmp_path / "set.jsonl", QUESTIONS)
    answers = jsonl(tmp_path / "a.jsonl", [{"prompt": QUESTIONS[0]["prompt"], "response": "no bullets"}, {"prompt": "A title.", "response": "*<<x>>*"}])
    found = json.loads(ifeval(tmp_path, answers, questions, "--json").stdout)
    assert (found["prompts"]["strict"]["met"], found["prompts"]["strict"]["of"]) == (1, 2)
    assert (found["instructions"]["strict"]["met"], found["instructions"]["strict"]["of"]) == (2, 3)
    assert set(found["kinds"]) == {"punctuation:no_comma", "detectable_format:number_bullet_lists", "detectable_format:title"}


def test_a_letter_that_is_drawn_by_chance_is_the_same_one_in_every_run(tmp_path: Path) -> None:
    asked = {"let_relation": "at least", "letter": "#", "let_frequency": 4}
    question = {"key": 1122, "prompt": "Write #.", "instruction_id_list": ["keywords:letter_frequency"], "kwargs": [asked]}
    questions = jsonl(tmp_path / "set.jsonl", [question])
    answers = jsonl(tmp_path / "a.jsonl", [{"prompt": "Write #.", "response": "abcdefghijklm" * 4}])
    state = random.getstate()
    met = {json.loads(ifeval(tmp_path / str(run), answers, questions, "--json").stdout)["instructions"]["strict"]["met"] for run in range(8)}
    assert len(met) == 1
    assert random.getstate() == state


def test_an_answer_that_is_missing_and_a_set_that_is_not_ifeval_are_one_line_each(tmp_path: Path) -> None:
    questions = jsonl(tmp_path / "set.jsonl", QUESTIONS)
    answers = jsonl(tmp_path / "a.jsonl", [{"prompt": "A title.", "response": "x"}])
    result = ifeval(tmp_path, answers, questions)
    assert result.exit_code == 1
    assert "1 of 2 questions of IFEval are not in it, the first: 1" in result.stderr
    other = jsonl(tmp_path / "other.jsonl", [{"instruction": "A title.", "output": "x"}])
    assert "is a set of alpaca_eval; give the questions of IFEval" in ifeval(tmp_path, answers, other).stderr
    strange = jsonl(tmp_path / "strange.jsonl", [{**QUESTIONS[1], "instruction_id_list": ["detectable_format:sonnet"]}])
    assert "no checker for the instruction detectable_format:sonnet" in ifeval(tmp_path, answers, strange).stderr


def test_nothing_is_fetched_where_the_sentence_model_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "empty")])
    monkeypatch.setattr(nltk, "download", lambda *_: pytest.fail("it was fetched"))
    answers = jsonl(tmp_path / "a.jsonl", [{"prompt": row["prompt"], "response": "x"} for row in QUESTIONS])
    result = ifeval(tmp_path, answers, jsonl(tmp_path / "set.jsonl", QUESTIONS))
    assert result.exit_code == 1
    assert "run: python -m nltk.downloader punkt_tab" in result.stderr


def test_the_extra_is_named_where_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "langdetect", None)
    answers = jsonl(tmp_path / "a.jsonl", [{"prompt": row["prompt"], "response": "x"} for row in QUESTIONS])
    result = ifeval(tmp_path, answers, jsonl(tmp_path / "set.jsonl", QUESTIONS))
    assert result.stderr.strip() == "langdetect is not installed; run: pip install 'sgpo-data[ifeval]'"
