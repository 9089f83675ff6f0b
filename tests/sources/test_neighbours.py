import gzip
import json
import logging
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_model import FakeModel, model_folder, opens

from sgpo_data.errors import DatasetError, SchemaError
from sgpo_data.execution import Execution
from sgpo_data.rows import Row
from sgpo_data.running.runner import run
from sgpo_data.sources.left_out import NAMES
from sgpo_data.sources.options import Source
from sgpo_data.sources.prompts import read_prompts
from sgpo_data.sources.source import open_source
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.stages.seed import Seed

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
    "a Sequence of turns": ({"messages": {"role": ["user", "assistant"], "content": ["hi", "yo"]}}, (HI, "yo", None)),
    "a Sequence of ShareGPT": ({"conversations": {"from": ["human", "gpt"], "value": ["hi", "yo"]}}, (HI, "yo", None)),
    "Llama 3 result": (
        {"messages": [U, A, {"role": "ipython", "content": "4"}, B]},
        ([("user", "hi"), ("assistant", "yo"), ("tool", "4")], "no", None),
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
    "MedQA": ({"question": "Which?", "options": {"A": "red", "B": "blue", "C": None}, "answer": "B"}, ([("user", CHOICES)], "B. blue", None)),
    "history as turns": ({"instruction": "And now?", "output": "No.", "history": [U, A]}, ([*HI, ("assistant", "yo"), ("user", "And now?")], "No.", None)),
    "reasoning of vLLM": ({"messages": [U, {**A, "reasoning": "Greet."}]}, (HI, "<think>\nGreet.\n</think>\n\nyo", None)),
    "thinking of gpt-oss": ({"messages": [U, {**A, "thinking": "Greet."}]}, (HI, "<think>\nGreet.\n</think>\n\nyo", None)),
    "roles in capitals": (
        {"messages": [{**SYSTEM, "role": "SYSTEM"}, {**U, "role": "User"}, {**A, "role": "Assistant"}]},
        ([("system", "Be brief."), *HI], "yo", None),
    ),
    "full-hh-rlhf": (
        {"prompt": "\n\nHuman: hi\n\nAssistant: a\n\nHuman: so?\n\nAssistant:", "chosen": " yo", "rejected": " no"},
        ([("user", "hi"), ("assistant", "a"), ("user", "so?")], "yo", "no"),
    ),
    "Nectar": ({"prompt": "\n\nHuman: hi\n\nAssistant: ", "answers": [{"answer": "yo", "rank": 1.0}]}, (HI, None, None)),
    "a transcript that does not end open": ({"prompt": "Human: hi\n\nAssistant: a", "answer": " yo"}, ([("user", "Human: hi\n\nAssistant: a")], " yo", None)),
    "LLaMA-Factory KTO": (
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}], "kto_tag": False},
        (HI, None, "yo"),
    ),
    "LLaMA-Factory ranking": (
        {"conversations": [{"from": "human", "value": "hi"}], "chosen": {"from": "gpt", "value": "yo"}, "rejected": {"from": "gpt", "value": "no"}},
        (HI, "yo", "no"),
    ),
    "ms-swift preference": ({"messages": [U, A], "rejected_response": "no"}, (HI, "yo", "no")),
    "distilabel": ({"instruction": "hi", "chosen_response": "yo", "rejected_response": "no", "chosen_rating": 5}, (HI, "yo", "no")),
    "ms-swift loss": ({"messages": [U, {**A, "loss": False}]}, (HI, None, None)),
    "Axolotl train": ({"messages": [U, {**A, "train": False}, U, {**B, "training": True}]}, ([*HI, ("assistant", "yo"), *HI], "no", None)),
    "Cohere": ({"messages": [{"role": "User", "content": "hi"}, {"role": "Chatbot", "content": "yo"}]}, (HI, "yo", None)),
    "LangChain": ({"messages": [{"role": "human", "content": "hi"}, {"role": "ai", "content": "yo"}]}, (HI, "yo", None)),
    "TriviaQA": ({"question": "hi", "answer": {"value": "yo", "aliases": ["y"]}}, (HI, "yo", None)),
    "turns as text": ({"prompt": json.dumps([U]), "chosen": json.dumps([A]), "rejected": json.dumps(B)}, (HI, "yo", "no")),
    "messages as text": ({"messages": json.dumps([U, A])}, (HI, "yo", None)),
    "an answer that is JSON": ({"prompt": "hi", "answer": '[{"from": "A", "value": 1}]'}, (HI, '[{"from": "A", "value": 1}]', None)),
    "calls and tools as empty text": ({"messages": [U, {**A, "tool_calls": "[]"}], "tools": "[]"}, (HI, "yo", None)),
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


def test_tabs_separate_the_columns_of_a_tsv(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tsv", 'prompt\tcompletion\tlabel\nhi\ta "b", c\t1\nho\t"a\tb\n""c"""\t0\n')
    assert said(path, strict=True) == [(HI, 'a "b", c', None), ([("user", "ho")], None, 'a\tb\n"c"')]
    (tmp_path / "x.tsv.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert said(tmp_path / "x.tsv.gz") == said(path)


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
    "a call of ms-swift": ({"messages": [U, {"role": "tool_call", "content": "{}"}, {"role": "tool_response", "content": "4"}, A]}, "messages calls a tool"),
    "a result beside tools": ({"messages": [U, A, RESULT], "tools": [{"type": "function"}]}, "tools offers tools, which are not read, and a turn holds"),
    "null": ({"messages": [U, {"role": "assistant", "content": None}]}, "messages: content is null, not text"),
    "a picture": ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, A]}, "messages: content is of another kind, not text"),
    "turns as Python prints them": ({"messages": str([U, A])}, "messages holds turns as Python prints a list, not as JSON"),
    "turns as pandas prints them": (
        {"messages": "[{'content': 'hi', 'role': 'user'}\n {'content': 'yo', 'role': 'assistant'}]"},
        "messages holds turns as Python",
    ),
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


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ('["A", "\\ud800"]', r"choices has the lone surrogate \\ud800 at character 1, which no text can hold"),
        ('["A", "A"]', "choices has the same label twice"),
    ],
)
def test_choices_that_cannot_be_told_apart_or_written_down_leave_the_row_out(labels: str, reason: str, tmp_path: Path) -> None:
    row = '{"question": "Which?", "choices": {"text": ["red", "blue"], "label": %s}, "answerKey": "A"}\n'
    path = written(tmp_path / "x.jsonl", row % '["A", "B"]' + row % labels)
    assert said(path) == [([("user", "Which?\nA. red\nB. blue")], "A. red", None)]
    with pytest.raises(SchemaError, match=reason):
        read(path, strict=True)


def test_a_row_of_another_shape_or_of_none_is_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "x.jsonl", lines({"odd": 1}, {"prompt": "hi"}, {"prompt": "b", "chosen": "c", "rejected": "d"}, {"z": 1}, {"prompt": "ho"}))
    assert said(path) == [(HI, None, None), ([("user", "ho")], None, None)]
    assert "3 rows left out: 2 no shape fits the columns it has (first: x.jsonl, line 1: odd); 1" in caplog.text
    assert "1 columns are of shape preference, rows before of prompt; set source.shape (first: x.jsonl, line 3: columns prompt, chosen" in caplog.text
    with pytest.raises(SchemaError, match="line 1: no shape fits the columns odd"):
        read(path, strict=True)


def test_what_is_said_of_a_row_of_many_columns_ends_with_a_whole_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(written(tmp_path / "x.jsonl", lines({"prompt": "hi"}, {f"column_{number}": 1 for number in range(100)})))
    said = caplog.text.partition("(first: x.jsonl, line 2: ")[2].partition(")")[0]
    assert said.startswith("column_0, column_1, ")
    assert said.endswith(", column_18, ...")


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
        "69 rows left out: 50 answer is a number, not text (first: x.jsonl, line 2: 0 (a number), not text); "
        "19 the turn to be answered is of another role, not user or tool (first: x.jsonl, line 52: role 'assistant'"
    ) in caplog.text


def test_what_is_not_read_is_named_with_the_rows_that_have_any_of_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tools: Raw = {"messages": [U, A], "tools": [{"type": "function"}]}
    thoughts: Raw = {"messages": [{**U, "thinking": "Hm"}, {**A, "reasoning_content": "Hm", "reasoning": "Hm?"}]}
    read(written(tmp_path / "x.jsonl", lines({"messages": [U, A]}, {"messages": [U, A], "id": 1}, {"messages": [{**U, "name": "n"}, A]}, tools, thoughts)))
    assert "not read: id, messages.name, tools, messages.thinking, messages.reasoning (4 rows)" in caplog.text


def test_names_that_are_not_read_are_no_more_than_can_be_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    read(written(tmp_path / "x.jsonl", lines(*({"prompt": "hi", f"k{number}": 1} for number in range(3 * NAMES)))))
    assert f", k{NAMES - 1} and more ({3 * NAMES} rows)" in caplog.text


TURNS = [U, A]
ONE_CHAT: dict[str, tuple[str, Said]] = {
    "x.json": (json.dumps(TURNS, indent=1), (HI, "yo", None)),
    "compact.json": (json.dumps(TURNS), (HI, "yo", None)),
    "sharegpt.json": (json.dumps([{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]), (HI, "yo", None)),
    "object.json": (json.dumps({"messages": TURNS, "tags": ["a"]}), (HI, "yo", None)),
    "other_name.json": (json.dumps({"turns": TURNS, "system": "Be brief."}, indent=1), ([("system", "Be brief."), *HI], "yo", None)),
    "preference.json": (json.dumps({"prompt": [U], "chosen": [A], "rejected": [B]}), (HI, "yo", "no")),
    "prompt.json": (json.dumps({"prompt": [U], "completion": "yo"}), (HI, "yo", None)),
    "lines.jsonl": (lines(TURNS), (HI, "yo", None)),
}


@pytest.mark.parametrize("name", ONE_CHAT)
def test_one_chat_in_a_file_is_one_row(name: str, tmp_path: Path) -> None:
    content, wanted = ONE_CHAT[name]
    assert said(written(tmp_path / name, content), strict=True) == [wanted]


def test_a_list_of_bare_chats_is_a_row_each(tmp_path: Path) -> None:
    ho = [{"role": "user", "content": "ho"}, B]
    wanted = [(HI, "yo", None), ([("user", "ho")], "no", None)]
    assert said(written(tmp_path / "x.json", json.dumps([TURNS, ho], indent=1)), strict=True) == wanted
    assert said(written(tmp_path / "y.json", lines(TURNS, ho)), strict=True) == wanted


def test_rows_that_have_a_role_beside_their_prompt_stay_rows(tmp_path: Path) -> None:
    rows = [{"prompt": "hi", "role": "user", "content": "x"}, {"prompt": "ho", "role": "user", "content": "x"}]
    assert [row["messages"][0]["content"] for row in read(written(tmp_path / "x.json", json.dumps(rows)))] == ["hi", "ho"]
    assert [row["messages"][0]["content"] for row in read(written(tmp_path / "x.json", json.dumps([U, A])), columns=["prompt=content"])] == ["hi", "yo"]


def test_an_object_of_rows_is_a_table_whatever_it_says_of_itself(tmp_path: Path) -> None:
    table = {"prompt": "Answer briefly.", "data": [{"prompt": "hi", "answer": "yo"}]}
    assert said(written(tmp_path / "x.json", json.dumps(table, indent=1))) == [(HI, "yo", None)]


def test_values_that_are_no_rows_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert said(written(tmp_path / "x.json", '[{"prompt": "hi"}, 3, null]')) == [(HI, None, None)]
    assert "2 rows left out: 1 a number, not an object (first: x.json, row 2: 3 (a number), not an object); 1 null, not an object" in caplog.text
    assert said(written(tmp_path / "x.csv", "prompt,answer\nhi,yo\nho\n")) == [(HI, "yo", None)]
    assert "1 another number of values than columns (first: x.csv, line 3: 1 values for 2 columns (prompt, answer))" in caplog.text


def test_a_folder_of_save_to_disk_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list([{"prompt": "hi", "completion": "yo"}, {"prompt": "ho", "completion": "no"}])
    rows.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": rows.select([0]), "test": rows.select([1])}).save_to_disk(tmp_path / "splits")
    wanted = [(HI, "yo", None), ([("user", "ho")], "no", None)]
    assert said(tmp_path / "one", strict=True) == wanted
    assert said(tmp_path / "splits", strict=True) == wanted[:1]
    assert said(tmp_path / "splits", strict=True, split="test") == wanted[1:]


CLONE = {
    "data/train-00000-of-00002.jsonl": "a",
    "data/train-00001-of-00002.jsonl": "b",
    "data/test-00000-of-00001.jsonl": "c",
    "dev.jsonl": "d",
    "test_hard/x.jsonl": "e",
}


@pytest.mark.parametrize(("split", "wanted"), [("train", ["a", "b"]), ("test", ["c"]), ("validation", ["d"]), ("test_hard", ["e"])])
def test_files_of_a_folder_are_of_the_split_that_their_names_tell(split: str, wanted: list[str], tmp_path: Path) -> None:
    for name, text in CLONE.items():
        written(tmp_path / "clone" / name, lines({"prompt": text}))
    assert [row["messages"][0]["content"] for row in read(tmp_path / "clone", split=split)] == wanted


def test_a_folder_of_an_evaluation_set_is_read_by_its_split(tmp_path: Path) -> None:
    for name, text in CLONE.items():
        written(tmp_path / "clone" / name, lines({"prompt": text}))
    marked = {row["messages"][0]["content"]: row["contaminated_by"] for row in read(tmp_path / "clone", decontaminate=[f"{tmp_path}/clone?split=test"])}
    assert marked == {"a": None, "b": None}
    own = written(tmp_path / "own.jsonl", lines({"prompt": "a"}, {"prompt": "c"}))
    assert [row["contaminated_by"] for row in read(own, decontaminate=[f"{tmp_path}/clone?split=test"])] == [None, "clone"]


@pytest.mark.parametrize(
    ("names", "split", "wanted"),
    [
        (["train_sft-00000.jsonl", "train_gen-00000.jsonl"], "train_sft", ["train_sft-00000.jsonl"]),
        (["train_data.jsonl", "test_data.jsonl"], "train", ["train_data.jsonl"]),
        (["my_train.jsonl", "my_test.jsonl"], "train", ["my_train.jsonl"]),
        (["train_1.jsonl", "train_2.jsonl", "test.jsonl"], "train", ["train_1.jsonl", "train_2.jsonl"]),
        (["latest.jsonl", "other.jsonl"], "train", ["latest.jsonl", "other.jsonl"]),
    ],
)
def test_a_split_of_several_words_is_told_whole(names: list[str], split: str, wanted: list[str], tmp_path: Path) -> None:
    for name in names:
        written(tmp_path / "x" / name, lines({"prompt": name}))
    assert [row["messages"][0]["content"] for row in read(tmp_path / "x", split=split)] == wanted


def test_a_split_that_could_be_two_is_refused_with_both(tmp_path: Path) -> None:
    for name in ("train_sft", "train_gen"):
        written(tmp_path / "x" / f"{name}-00000.jsonl", lines({"prompt": name}))
    with pytest.raises(DatasetError, match="no file of split train in this folder; it has train_gen, train_sft"):
        read(tmp_path / "x")


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(model_folder(tmp_path / "model"))


def test_every_reference_of_a_prompt_is_a_pair_of_its_own(model: str, tmp_path: Path) -> None:
    how = Execution(root=tmp_path / "runs", progress="none")
    path = written(tmp_path / "x.jsonl", lines(*({"prompt": "hi", "answer": text} for text in ("yo", "hey", "yo", "hello"))))
    seeded = run(Seed(), str(path), model=model, execution=how, open_model=opens(FakeModel()))
    rows = seeded.scan().collect()
    assert rows.select("reference", "sample").rows() == [("yo", 0), ("hey", 1), ("hello", 2)]
    pairs = run(Pair(), str(seeded.folder), execution=how).scan().collect()
    assert sorted(turns[-1]["content"] for turns in pairs["chosen"].to_list()) == ["hello", "hey", "yo"]


def test_every_preference_of_a_prompt_is_a_pair_of_its_own(tmp_path: Path) -> None:
    preferences = [("yo", "no"), ("hey", "no"), ("yo", "nah"), ("yo", "no")]
    path = written(tmp_path / "x.jsonl", lines(*({"prompt": "hi", "chosen": chosen, "rejected": rejected} for chosen, rejected in preferences)))
    pairs = run(Pair(), str(path), execution=Execution(root=tmp_path / "runs", progress="none")).scan().collect()
    found = sorted((chosen[-1]["content"], rejected[-1]["content"]) for chosen, rejected in pairs.select("chosen", "rejected").rows())
    assert found == sorted(set(preferences))


def arrow_file(path: Path, *, stream: bool) -> Path:
    table = pa.table({"prompt": ["hi", "ho"], "completion": ["yo", None]})
    with pa.OSFile(str(path), "wb") as file, (pa.ipc.new_stream if stream else pa.ipc.new_file)(file, table.schema) as out:
        out.write_table(table)
    return path


@pytest.mark.parametrize("name", ["x.arrow", "x.feather"])
@pytest.mark.parametrize("stream", [True, False])
def test_arrow_is_read_as_a_stream_and_as_a_file(name: str, stream: bool, tmp_path: Path) -> None:
    assert said(arrow_file(tmp_path / name, stream=stream), strict=True) == [(HI, "yo", None), ([("user", "ho")], None, None)]


@pytest.mark.parametrize("kind", [pa.bool_(), pa.int8(), pa.int64(), pa.float64(), pa.string()])
def test_labels_of_parquet_are_read_whatever_their_type(kind: pa.DataType, tmp_path: Path) -> None:
    labels = pa.array(["true", "false", None]) if kind == pa.string() else pa.array([1, 0, None], pa.int8()).cast(kind)
    pq.write_table(pa.table({"prompt": ["hi"] * 3, "completion": ["yo", "no", "hey"], "label": labels}), tmp_path / "x.parquet")
    assert said(tmp_path / "x.parquet", strict=True) == [(HI, "yo", None), (HI, None, "no"), (HI, "hey", None)]


@pytest.mark.parametrize("table", [{"prompt": ["hi", "ho"], "answer": ["yo", None]}, {"prompt": {"0": "hi", "1": "ho"}, "answer": {"0": "yo", "1": None}}])
def test_a_table_by_columns_is_read(table: Raw, tmp_path: Path) -> None:
    assert said(written(tmp_path / "x.json", json.dumps(table, indent=1)), strict=True) == [(HI, "yo", None), ([("user", "ho")], None, None)]


def test_columns_of_one_name_are_refused_if_they_could_be_read_and_passed_over_if_not(tmp_path: Path) -> None:
    assert said(written(tmp_path / "x.csv", "prompt,x,x,,\nhi,1,2,,\n")) == [(HI, None, None)]
    for name, names in {"a": ["prompt", "x", "x"], "b": ["prompt", "prompt", "x"]}.items():
        pq.write_table(pa.Table.from_arrays([pa.array([text]) for text in ("hi", "ho", "ha")], names=names), tmp_path / f"{name}.parquet")
    assert said(tmp_path / "a.parquet") == [(HI, None, None)]
    with pytest.raises(DatasetError, match=r"b\.parquet: two columns are called 'prompt'; rename one"):
        read(tmp_path / "b.parquet")


def test_a_compressed_file_of_a_name_in_capitals_is_read(tmp_path: Path) -> None:
    (tmp_path / "X.JSONL.GZ").write_bytes(gzip.compress(b'{"prompt": "hi"}\n'))
    assert said(tmp_path / "X.JSONL.GZ") == [(HI, None, None)]


def test_links_in_a_folder_are_followed_once_and_a_dead_one_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "far/x.jsonl", lines({"prompt": "hi"}))
    (tmp_path / "near").mkdir()
    (tmp_path / "near/sub").symlink_to(tmp_path / "far")
    (tmp_path / "near/loop").symlink_to(tmp_path / "near")
    assert said(tmp_path / "near") == [(HI, None, None)]
    (tmp_path / "near/dead.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(DatasetError, match=r"dead\.jsonl: a link to .*gone, where nothing is; mend the link"):
        read(tmp_path / "near")


def test_an_answer_of_unknown_keys_is_an_odd_row(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="answer is an object without text or value"):
        read(written(tmp_path / "x.jsonl", lines({"question": "hi", "answer": {"gold": "yo"}})))


def test_what_of_an_answer_is_not_read_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    said(written(tmp_path / "x.jsonl", lines({"question": "hi", "answers": {"text": ["yo", "hey"], "answer_start": [0, 4]}})))
    assert "not read: answers.answer_start, answers after the first (1 row)" in caplog.text


def test_the_index_that_pandas_writes_is_named_though_it_has_no_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert said(written(tmp_path / "x.csv", ",prompt\n0,hi\n")) == [(HI, None, None)]
    assert "not read: a column without a name (1 row)" in caplog.text


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.parquet", "x.jsonl.gz", "x.arrow"])
def test_a_pointer_of_git_lfs_is_called_that(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name, f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12\n")
    for place in (path, tmp_path):
        with pytest.raises(DatasetError, match=f"{name}: a Git LFS pointer, not the file itself; run git lfs pull in {tmp_path}"):
            read(place)


def test_files_of_a_folder_that_hold_no_rows_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for name in ("a.jsonl", "b.jsonl.zip", "c.xlsx", "dataset_infos.json", "README.md", "LICENSE"):
        written(tmp_path / "x" / name, '{"prompt": "hi"}')
    assert said(tmp_path / "x") == [(HI, None, None)]
    assert "x: not of a kind that can be read: b.jsonl.zip, c.xlsx, dataset_infos.json" in caplog.text
    assert "README" not in caplog.text


def test_a_clone_of_several_configs_says_that_all_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("main/train.jsonl", "socratic/train.jsonl"):
        written(tmp_path / "x" / name, lines({"prompt": name}))
    written(tmp_path / "x/README.md", "---\nconfigs:\n- config_name: main\n  data_files: main/*\n- config_name: socratic\n---\n")
    assert len(read(tmp_path / "x")) == 2
    assert "README.md has main and socratic as configs of their own, and all are read" in caplog.text
    caplog.clear()
    assert len(read(tmp_path / "x/main")) == 1
    assert "configs" not in caplog.text
