import json
import logging
from pathlib import Path
from typing import cast

import pytest

from sgpo_data.errors import SchemaError
from sgpo_data.execution import Execution
from sgpo_data.rows import Row
from sgpo_data.sources.left_out import NAMES
from sgpo_data.sources.prompts import read_prompts
from sgpo_data.sources.source import Source, open_source

U = {"role": "user", "content": "hi"}
A = {"role": "assistant", "content": "yo"}
B = {"role": "assistant", "content": "no"}
SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]}
RESULT = {"role": "tool", "content": "4"}

Raw = dict[str, object]
Said = tuple[list[tuple[str, str]], str | None, str | None]
HI = [("user", "hi")]


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def written(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def read(path: Path, **options: object) -> list[Row]:
    batches = open_source(str(path), Source.model_validate(options)).batches()
    return [row for batch in batches for row in cast(list[Row], batch.to_pylist())]


def said(path: Path, **options: object) -> list[Said]:
    return [([(turn["role"], turn["content"]) for turn in row["messages"]], row["reference"], row["rejected"]) for row in read(path, **options)]


CHOICES = "Which?\nA. red\nB. blue"
NEIGHBOURS: dict[str, tuple[Raw, Said]] = {
    "Dolly": (
        {"instruction": "When?", "context": "Founded in 2000.", "response": "2000", "category": "closed_qa"},
        ([("user", "When?\n\nFounded in 2000.")], "2000", None),
    ),
    "SQuAD": (
        {"id": "1", "title": "t", "context": "It is red.", "question": "Colour?", "answers": {"text": ["red", "Red"], "answer_start": [6, 6]}},
        ([("user", "It is red.\n\nColour?")], "red", None),
    ),
    "SQuAD without an answer": (
        {"context": "It is red.", "question": "Size?", "answers": {"text": [], "answer_start": []}},
        ([("user", "It is red.\n\nSize?")], None, None),
    ),
    "ARC": (
        {"question": "Which?", "choices": {"text": ["red", "blue"], "label": ["1", "2"]}, "answerKey": "2"},
        ([("user", "Which?\n1. red\n2. blue")], "2. blue", None),
    ),
    "MMLU": ({"question": "Which?", "choices": ["red", "blue"], "answer": 1}, ([("user", CHOICES)], "B. blue", None)),
    "Alpaca history": (
        {"instruction": "And now?", "input": "", "output": "No.", "history": [["One?", "Yes."], ["Two?", "Maybe."]]},
        ([("user", "One?"), ("assistant", "Yes."), ("user", "Two?"), ("assistant", "Maybe."), ("user", "And now?")], "No.", None),
    ),
    "OpenAI weight 0 at the end": ({"messages": [U, {**A, "weight": 0}]}, (HI, None, None)),
    "OpenAI weight 0 before": (
        {"messages": [U, {**A, "weight": 0}, U, {**B, "weight": 1}]},
        ([("user", "hi"), ("assistant", "yo"), ("user", "hi")], "no", None),
    ),
    "weight 0 as text": ({"messages": [U, {**A, "weight": "0"}]}, (HI, None, None)),
    "weight 0 in chosen": ({"chosen": [U, {**A, "weight": 0}], "rejected": [U, B]}, (HI, None, "no")),
    "weight 0 in rejected": ({"chosen": [U, {**A, "weight": 1}], "rejected": [U, {**B, "weight": 0}]}, (HI, "yo", None)),
    "OpenAI preference": (
        {"input": {"messages": [SYSTEM, U], "tools": [], "parallel_tool_calls": True}, "preferred_output": [A], "non_preferred_output": [B]},
        ([("system", "Be brief."), ("user", "hi")], "yo", "no"),
    ),
    "reasoning": ({"messages": [U, {**A, "reasoning_content": " Greet. "}]}, (HI, "<think>\nGreet.\n</think>\n\nyo", None)),
    "text parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "input_text", "text": "i"}]}, A]},
        (HI, "yo", None),
    ),
    "HH transcripts": (
        {"chosen": "\n\nHuman: hi\n\nAssistant: a\n\nHuman: so?\n\nAssistant: yo", "rejected": "\n\nHuman: hi\n\nAssistant: a\n\nHuman: so?\n\nAssistant: no"},
        ([("user", "hi"), ("assistant", "a"), ("user", "so?")], "yo", "no"),
    ),
    "Gemini": ({"messages": [U, {"role": "model", "content": "yo"}]}, (HI, "yo", None)),
    "observation": (
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "I look."}, {"from": "observation", "value": "4"}]},
        ([("user", "hi"), ("assistant", "I look."), ("tool", "4")], None, None),
    ),
    "role null beside from": (
        {
            "conversations": [
                {"role": None, "content": None, "from": "human", "value": "hi"},
                {"role": None, "content": None, "from": "gpt", "value": "yo"},
            ]
        },
        (HI, "yo", None),
    ),
    "tools that nothing calls": ({"messages": [U, A], "tools": [{"type": "function"}]}, (HI, "yo", None)),
    "tools beside a prompt": ({"prompt": "hi", "chosen": "yo", "rejected": "no", "tools": [{"type": "function"}]}, (HI, "yo", "no")),
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_what_others_publish_is_read(name: str, tmp_path: Path) -> None:
    raw, wanted = NEIGHBOURS[name]
    assert said(written(tmp_path / "x.jsonl", lines(raw)), strict=True) == [wanted]


FALSE = [False, 0, 0.0, "false", "False", " FALSE ", "0", "0.0"]
TRUE = [True, 1, 1.0, "true", "True", "1", "1.0"]
ONE_ANSWER: list[Raw] = [
    {"prompt": "hi", "completion": "yo"},
    {"prompt": [U], "completion": [A]},
    {"messages": [U, A]},
    {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]},
    {"messages": [U], "reference": "yo"},
    {"instruction": "hi", "output": "yo"},
    {"question": "hi", "answer": "yo"},
]


@pytest.mark.parametrize("raw", ONE_ANSWER)
def test_an_answer_of_false_label_is_rejected_in_every_shape_and_never_a_reference(raw: Raw, tmp_path: Path) -> None:
    for label in FALSE:
        assert said(written(tmp_path / "x.jsonl", lines({**raw, "label": label})), strict=True) == [(HI, None, "yo")], label
    for label in [*TRUE, None]:
        assert said(written(tmp_path / "x.jsonl", lines({**raw, "label": label})), strict=True) == [(HI, "yo", None)], label


def test_labels_of_csv_are_read(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "prompt, completion ,label\nhi,yo,False\nho,yo,True\nha,yo,\n")
    assert said(path, strict=True) == [(HI, None, "yo"), ([("user", "ho")], "yo", None), ([("user", "ha")], "yo", None)]


@pytest.mark.parametrize("label", ["good", 2, -1, 0.5, [0], {"a": 1}, "yes"])
@pytest.mark.parametrize("raw", ONE_ANSWER)
def test_any_other_label_beside_an_answer_refuses_the_row(label: object, raw: Raw, tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", lines({**raw, "label": label}))
    with pytest.raises(SchemaError, match=r"x\.jsonl, line 1: label is .*, not true or false"):
        read(path)


def test_a_false_label_beside_a_rejected_answer_refuses_the_row(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="label is false for an answer that stands beside a rejected one"):
        read(written(tmp_path / "x.jsonl", lines({"prompt": "hi", "completion": "yo", "rejected": "no", "label": False})))


def test_a_label_beside_no_answer_is_no_verdict_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert said(written(tmp_path / "x.jsonl", lines({"prompt": "hi", "label": "toxic"}))) == [(HI, None, None)]
    assert "not read: label (1 row)" in caplog.text


ODD: dict[str, tuple[Raw, str]] = {
    "a call": ({"messages": [U, CALL]}, "messages calls a tool, which is not read"),
    "a call of old": ({"messages": [U, {**A, "function_call": {"name": "f"}}]}, "messages calls a tool"),
    "a result beside tools": ({"messages": [U, A, RESULT], "tools": [{"type": "function"}]}, "tools offers tools, which are not read, and a turn holds"),
    "null": ({"messages": [U, {"role": "assistant", "content": None}]}, "messages: content is null, not text"),
    "a picture": ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, A]}, "messages: content is of another kind, not text"),
    "a weight that is none": ({"messages": [U, {**A, "weight": "low"}]}, "messages: weight is text, not 0 or 1"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_row_is_left_out_and_counted_with_its_first_place(name: str, tmp_path: Path) -> None:
    raw, reason = ODD[name]
    path = written(tmp_path / "x.jsonl", lines({"messages": [U, A]}, raw, raw))
    dataset = read_prompts(str(path), Source(), Execution(root=tmp_path / "runs"))
    assert dataset.manifest.rows == 1
    (warning,) = dataset.manifest.warnings
    assert warning.startswith(f"2 rows left out: 2 {reason}")
    assert "(first: x.jsonl, line 2" in warning
    with pytest.raises(SchemaError, match=r"x\.jsonl, line 2"):
        read(path, strict=True)


def test_a_row_of_another_shape_or_of_none_is_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "x.jsonl", lines({"odd": 1}, {"prompt": "hi"}, {"prompt": "b", "chosen": "c", "rejected": "d"}, {"z": 1}, {"prompt": "ho"}))
    assert said(path) == [(HI, None, None), ([("user", "ho")], None, None)]
    assert "3 rows left out: 2 no shape fits the columns it has (first: x.jsonl, line 1: no shape fits the columns odd" in caplog.text
    assert "1 columns are of shape preference, rows before of prompt; set source.shape (first: x.jsonl, line 3: columns prompt, chosen" in caplog.text
    with pytest.raises(SchemaError, match="line 1: no shape fits the columns odd"):
        read(path, strict=True)


def test_a_source_of_which_no_row_fits_is_refused_with_its_first_row(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"x\.jsonl, line 1: no shape fits the columns odd: preference needs"):
        read(written(tmp_path / "x.jsonl", lines({"odd": 1}, {"odder": 2})))


def test_a_source_that_begins_with_a_thousand_rows_of_no_shape_is_not_read_on(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", lines(*[{"odd": 1}] * 1000) + "this line is not JSON\n")
    with pytest.raises(SchemaError, match=r"x\.jsonl, line 1: no shape fits"):
        read(path)


def test_rows_are_counted_by_a_reason_without_what_each_of_them_holds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = [{"prompt": "hi", "answer": number} for number in range(50)]
    deep = [{"prompt": [U] * number + [A], "answer": None} for number in range(1, 20)]
    read(written(tmp_path / "x.jsonl", lines({"prompt": "hi", "answer": "yo"}, *bad, *deep)))
    assert (
        "69 rows left out: 50 answer is a number, not text (first: x.jsonl, line 2: answer is 0 (a number), not text); "
        "19 the turn to be answered is of another role, not user or tool (first: x.jsonl, line 52: the turn to be answered is of role 'assistant'"
    ) in caplog.text


def test_what_is_not_read_is_named_with_the_rows_that_have_any_of_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tools: Raw = {"messages": [U, A], "tools": [{"type": "function"}]}
    read(written(tmp_path / "x.jsonl", lines({"messages": [U, A]}, {"messages": [U, A], "id": 1}, {"messages": [{**U, "name": "n"}, A]}, tools)))
    assert "not read: id, messages.name, tools (3 rows)" in caplog.text


def test_names_that_are_not_read_are_no_more_than_can_be_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    read(written(tmp_path / "x.jsonl", lines(*({"prompt": "hi", f"k{number}": 1} for number in range(3 * NAMES)))))
    assert f", k{NAMES - 1} and more ({3 * NAMES} rows)" in caplog.text
