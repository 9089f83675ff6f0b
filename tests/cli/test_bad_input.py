"""Bad input through the command line: one clear line, the right exit code, nothing lost."""

import json
from pathlib import Path

import pytest
from fake_model import FakeModel, model_folder, opens
from sgpo_data.cli.main import app
from typer.testing import CliRunner, Result

from sgpo_data.running.engines import OpenModel

GOOD: list[dict[str, object]] = [{"prompt": f"Say {i}.", "answer": f"{i}"} for i in range(12)]


def sgpo(*arguments: str, root: Path, open_model: OpenModel | None = None) -> Result:
    return CliRunner().invoke(app, [*arguments, "--root", str(root / "runs")], obj=open_model)


def written(path: Path, content: bytes | list[dict[str, object]]) -> str:
    path.write_bytes(content if isinstance(content, bytes) else b"".join(json.dumps(row).encode() + b"\n" for row in content))
    return str(path)


@pytest.mark.parametrize(
    ("content", "flags", "words"),
    [
        (GOOD, ["--source.columns", "prompt=question"], ["no column", "question", "prompt, answer"]),
        (GOOD, ["--source.shape", "messages"], ["messages", "prompt, answer"]),
        ([*GOOD, {"prompt": "  ", "answer": "x"}], ["--source.strict"], ["13", "prompt", "empty"]),
        (b'{"prompt": "caf\xe9"}\n', [], ["1", "UTF-8"]),
        (b'{"prompt": "\\ud800"}\n', [], ["1", "surrogate"]),
        (b'{"prompt": "a"}\n{"prompt": \n', ["--source.strict"], ["2", "JSON"]),
        (b"", [], ["no rows"]),
        ([{"colour": "red"}], [], ["colour"]),
    ],
)
def test_a_source_that_can_not_be_read_is_one_line(content: bytes | list[dict[str, object]], flags: list[str], words: list[str], tmp_path: Path) -> None:
    model = FakeModel()
    source = written(tmp_path / "prompts.jsonl", content)
    shown = sgpo("seed", source, "--model", str(model_folder(tmp_path / "m")), *flags, root=tmp_path, open_model=opens(model))
    assert shown.exit_code == 1, shown.stderr
    line = shown.stderr.strip().splitlines()[-1]
    assert "prompts.jsonl" in line
    assert [word for word in words if word not in line] == []
    assert shown.stdout == ""
    assert model.asked == []


def test_a_model_folder_without_a_chat_template_says_what_to_add(tmp_path: Path) -> None:
    from tiny_model import write_model

    write_model(tmp_path / "m")
    (tmp_path / "m" / "chat_template.jinja").unlink()
    shown = sgpo("seed", written(tmp_path / "p.jsonl", GOOD), "--model", str(tmp_path / "m"), root=tmp_path)
    assert shown.exit_code == 1
    assert "add chat_template.jinja to the folder" in shown.stderr.strip().splitlines()[-1]


def test_a_folder_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    shown = sgpo("seed", written(tmp_path / "p.jsonl", GOOD), "--model", str(tmp_path), root=tmp_path)
    assert shown.exit_code == 1
    assert "no config.json, so this is no model folder" in shown.stderr


def test_a_prompt_longer_than_the_context_is_a_row(tmp_path: Path) -> None:
    from tiny_model import write_model

    source = written(tmp_path / "p.jsonl", [{"prompt": "a"}, {"prompt": "word " * 1000}])
    flags = ["--model", str(write_model(tmp_path / "m")), "--sampling.max_tokens", "4", "-o", str(tmp_path / "out"), "--json"]
    shown = sgpo("seed", source, *flags, root=tmp_path)
    assert shown.exit_code == 0, shown.stderr
    summary = json.loads(shown.stdout)
    assert summary["rows"] == 2
    assert summary["outcomes"]["too_long"] == 1


def test_a_broken_dataset_stops_a_chain_and_check_says_where(tmp_path: Path) -> None:
    fake = FakeModel()
    source = written(tmp_path / "p.jsonl", GOOD)
    assert sgpo("seed", source, "--model", str(model_folder(tmp_path / "m")), "-o", str(tmp_path / "out"), root=tmp_path, open_model=opens(fake)).exit_code == 0
    assert sgpo("check", str(tmp_path / "out"), root=tmp_path).exit_code == 0
    part = tmp_path / "out" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    checked = sgpo("check", str(tmp_path / "out"), root=tmp_path)
    assert checked.exit_code == 3
    assert "part-00000.parquet: SHA-256 is" in checked.stderr
    improved = sgpo("improve", str(tmp_path / "out"), root=tmp_path, open_model=opens(fake))
    assert improved.exit_code == 1
    assert "sgpo check" in improved.stderr
    part.unlink()
    gone = sgpo("check", str(tmp_path / "out"), root=tmp_path)
    assert gone.exit_code == 3
    assert "part-00000.parquet is gone" in gone.stderr


def test_text_of_any_kind_goes_through_unchanged(tmp_path: Path) -> None:
    fake = FakeModel()
    texts = ["🦊" * 50, "שלום עולם", "a\u0000b", "line\nline\r\n\ttab", "'; DROP TABLE prompts; --", "x" * 1_000_000, "{{ 7 * 7 }}"]
    source = written(tmp_path / "p.jsonl", [{"prompt": text, "answer": text} for text in texts])
    out = tmp_path / "out"
    assert sgpo("seed", source, "--model", str(model_folder(tmp_path / "m")), "-o", str(out), root=tmp_path, open_model=opens(fake)).exit_code == 0
    improved = sgpo("improve", str(out), "-o", str(tmp_path / "b"), root=tmp_path, open_model=opens(fake))
    assert improved.exit_code == 0, improved.stderr
    import sgpo_data

    rows = sgpo_data.scan(tmp_path / "b").collect()
    assert [turns[0]["content"] for turns in rows["messages"]] == texts
    assert rows["reference"].to_list() == texts
    assert all(text in prompt[0]["content"] for text, prompt in zip(texts, rows["improver_prompt"], strict=True))


def test_a_dataset_without_rows_has_nothing_to_improve(tmp_path: Path) -> None:
    from made import made_dataset

    empty = made_dataset(tmp_path / "empty", "filtered", [])
    shown = sgpo("pair", str(empty.folder), root=tmp_path)
    assert shown.exit_code == 1
    assert "has no rows, so there is nothing to pair" in shown.stderr
