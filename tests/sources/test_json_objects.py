"""Claims about JSON objects in which a key stands twice: of what is read, neither value is taken for the row's."""

import json
import logging
from pathlib import Path

import pytest

from sgpo_data.errors import DatasetError, SchemaError
from sgpo_data.sources.options import Source
from sgpo_data.sources.source import open_source

TURNS = '[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo", "content": "no"}]'
IN_TURN = "1 messages has a key twice in one object (first: x.jsonl, line 2: 'content' twice in one object)"
TWICE: dict[str, tuple[str, str, str]] = {
    "a column": ('{"prompt": "ok"}', '{"prompt": "a", "prompt": "b"}', "1 prompt stands twice in the row (first: x.jsonl, line 2)"),
    "spaced": ('{"prompt": "ok"}', '{"prompt" : "a: b", "prompt" : "b"}', "1 prompt stands twice in the row (first: x.jsonl, line 2)"),
    "a turn": ('{"messages": [{"role": "user", "content": "ok"}]}', f'{{"messages": {TURNS}}}', IN_TURN),
    "a bare list of turns": ('[{"role": "user", "content": "ok"}]', TURNS, IN_TURN),
    "turns as text": ('{"messages": [{"role": "user", "content": "ok"}]}', json.dumps({"messages": TURNS}), IN_TURN),
    "beside a number that is none": ('{"prompt": "ok"}', '{"prompt": "a", "prompt": "b", "n": NaN}', "1 prompt stands twice in the row"),
}


def texts(path: Path, **options: object) -> list[str]:
    return [row["messages"][-1]["content"] for row in open_source(str(path), Source.model_validate(options)).prompts()]


def written(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", TWICE)
def test_a_row_with_a_key_twice_in_what_is_read_is_left_out_and_counted(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, twice, said = TWICE[name]
    path = written(tmp_path / "x.jsonl", f"{good}\n{twice}\n{good}\n")
    assert texts(path) == ["ok", "ok"]
    assert f"1 row left out: {said}" in caplog.text
    with pytest.raises(SchemaError, match=r"x\.jsonl, line 2"):
        texts(path, strict=True)


def test_a_key_twice_in_what_nobody_reads_and_colons_in_texts_leave_no_row_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rows = ['{"prompt": "a", "id": 1, "id": 2, "more": {"x": 1, "x": 2}}', r'{"prompt": "b\u003a \"prompt\": c", "deep": ' + '{"x": ' * 300 + "1" + "}" * 301]
    assert texts(written(tmp_path / "x.jsonl", "\n".join(rows))) == ["a", 'b: "prompt": c']
    assert "left out" not in caplog.text


def test_a_row_of_a_whole_json_file_has_its_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert texts(written(tmp_path / "x.json", '{"rows": [{"prompt": "a"},\n{"prompt": "b", "prompt": "c"}]}')) == ["a"]
    assert "1 prompt stands twice in the row (first: x.json, row 2)" in caplog.text


@pytest.mark.parametrize("content", ['{"rows": [{"prompt": "a"}],\n"rows": [{"prompt": "b"}]}', '{"prompt": ["a"],\n"rows": ["b"], "rows": ["c"]}'])
def test_rows_under_a_key_that_stands_twice_refuse_their_file(content: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"x\.json: the key 'rows' stands twice in the object that holds the rows; keep one, or rename one"):
        texts(written(tmp_path / "x.json", content))
