import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_faults import Fault
from hub_server import Hub, hub_server
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sgpo_data.errors import DatasetError, RecipeError, SchemaError, SgpoError
from sgpo_data.rows import Message, Row
from sgpo_data.schema import schema
from sgpo_data.sources.files import raw_files
from sgpo_data.sources.options import Source
from sgpo_data.sources.source import open_source, prompt_id

USER = {"role": "user", "content": "hi"}
YO = {"role": "assistant", "content": "yo"}
NO = {"role": "assistant", "content": "no"}
SYSTEM = {"role": "system", "content": "Be brief."}


def written(folder: Path, *rows: object, name: str = "x.jsonl") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(reference: str | Path, **options: object) -> list[Row]:
    batches = open_source(str(reference), Source.model_validate(options)).batches()
    return [row for batch in batches for row in cast(list[Row], batch.to_pylist())]


def said(row: Row) -> tuple[list[Message], str | None, str | None]:
    return row["messages"], row["reference"], row["rejected"]


def texts(rows: list[Row]) -> list[str]:
    return [row["messages"][-1]["content"] for row in rows]


def fault(reference: str | Path, **options: object) -> str:
    with pytest.raises(SgpoError) as caught:
        read(reference, **options)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    return str(caught.value)


SHAPES: dict[str, tuple[dict[str, object], tuple[list[dict[str, str]], str | None, str | None]]] = {
    "text": ({"prompt": "hi"}, ([USER], None, None)),
    "text and completion": ({"prompt": "hi", "completion": "yo"}, ([USER], "yo", None)),
    "text and null": ({"prompt": "hi", "response": None}, ([USER], None, None)),
    "text and blank": ({"prompt": "hi", "answer": " "}, ([USER], None, None)),
    "prompt messages": ({"prompt": [SYSTEM, USER], "reference": [YO]}, ([SYSTEM, USER], "yo", None)),
    "chat": ({"messages": [USER, YO]}, ([USER], "yo", None)),
    "chat in turns": ({"messages": [SYSTEM, USER, YO, USER, NO]}, ([SYSTEM, USER, YO, USER], "no", None)),
    "chat without answer": ({"messages": [USER]}, ([USER], None, None)),
    "chat beside its prompt": ({"prompt": "other", "messages": [USER, YO]}, ([USER], "yo", None)),
    "tool result": ({"messages": [USER, YO, {"role": "tool", "content": "4"}]}, ([USER, YO, {"role": "tool", "content": "4"}], None, None)),
    "sharegpt": (
        {"conversations": [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]},
        ([SYSTEM, USER], "yo", None),
    ),
    "alpaca": ({"instruction": "Add.", "input": "1 2", "output": "3"}, ([{"role": "user", "content": "Add.\n\n1 2"}], "3", None)),
    "alpaca without input": ({"instruction": "hi", "input": "", "output": "yo"}, ([USER], "yo", None)),
    "question": ({"question": "hi", "answer": "yo"}, ([USER], "yo", None)),
    "system column": ({"system": "Be brief.", "question": "hi"}, ([SYSTEM, USER], None, None)),
    "blank system column": ({"system_prompt": "", "messages": [USER]}, ([USER], None, None)),
    "preference texts": ({"prompt": "hi", "chosen": "yo", "rejected": "no"}, ([USER], "yo", "no")),
    "preference turns": ({"prompt": "hi", "chosen": [YO], "rejected": [NO]}, ([USER], "yo", "no")),
    "preference chats": ({"prompt": "hi", "chosen": [USER, YO], "rejected": [USER, NO], "messages": [USER, YO]}, ([USER], "yo", "no")),
    "implicit prompt": ({"chosen": [SYSTEM, USER, YO], "rejected": [SYSTEM, USER, NO]}, ([SYSTEM, USER], "yo", "no")),
    "orca": ({"system": "Be brief.", "question": "hi", "chosen": "yo", "rejected": "no"}, ([SYSTEM, USER], "yo", "no")),
    "own table": ({"prompt_id": "", "messages": [USER], "reference": "yo", "rejected": "no", "source": "s", "count": 3}, ([USER], "yo", "no")),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_each_shape_is_told_by_its_columns(name: str, suffix: str, tmp_path: Path) -> None:
    raw, wanted = SHAPES[name]
    path = tmp_path / f"x.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([raw]), path)
    else:
        written(tmp_path, raw)
    (row,) = read(path)
    assert said(row) == wanted
    assert (row["source"], row["count"]) == (path.name, 1)


def test_prompt_id_is_the_digest_of_sorted_compact_json_of_role_and_content() -> None:
    messages: list[Message] = [{"role": "user", "content": 'é "😀"\n'}]
    assert prompt_id(messages) == hashlib.sha256('[{"content":"é \\"😀\\"\\n","role":"user"}]'.encode()).hexdigest()[:32]


def test_keys_beside_role_and_content_do_not_make_another_prompt(tmp_path: Path) -> None:
    (row,) = read(written(tmp_path, {"messages": [USER]}, {"messages": [{**USER, "weight": 1}]}))
    assert (row["messages"], row["count"]) == ([USER], 2)


def test_duplicates_are_counted_over_all_files_and_every_answer_is_a_row(tmp_path: Path) -> None:
    written(tmp_path, {"prompt": "hi"}, {"prompt": "hi", "answer": "first"}, {"prompt": "b"}, name="a.jsonl")
    written(tmp_path, {"prompt": "hi", "answer": "second"}, {"prompt": "hi", "answer": "first"}, {"prompt": "b"}, name="deep/b.jsonl")
    written(tmp_path, {"prompt": "c"}, name="deep/c.jsonl")
    assert [(row["messages"][0]["content"], row["reference"], row["source"], row["count"], row["sample"]) for row in read(tmp_path)] == [
        ("hi", "first", "a.jsonl", 3, 0),
        ("hi", "second", "deep/b.jsonl", 1, 1),
        ("b", None, "a.jsonl", 2, 0),
        ("c", None, "deep/c.jsonl", 1, 0),
    ]


def test_rows_are_rows_of_table_prompts(tmp_path: Path) -> None:
    rows = read(written(tmp_path, *(raw for raw, _ in SHAPES.values() if "prompt" in raw and "messages" not in raw and "chosen" not in raw)))
    with duckdb.connect() as con:
        table = con.from_arrow(pa.Table.from_pylist([dict(row) for row in rows], schema("prompts").arrow))
        assert schema("prompts").violations(table) == {}


@pytest.fixture
def numbered(tmp_path: Path) -> str:
    return written(tmp_path, *({"prompt": f"p{number}"} for number in range(200)))


def test_slices_of_one_shuffle_are_disjoint_and_together_everything(numbered: str) -> None:
    slices = [texts(read(numbered, shuffle_seed=7, offset=offset, limit=70)) for offset in (0, 70, 140)]
    assert [len(part) for part in slices] == [70, 70, 60]
    assert sorted(text for part in slices for text in part) == sorted(f"p{number}" for number in range(200))
    assert slices[0] != texts(read(numbered, shuffle_seed=8, limit=70)) != texts(read(numbered, limit=70))


def test_shuffled_order_is_the_rank_of_a_hash_whatever_the_order_of_the_source(numbered: str, tmp_path: Path) -> None:
    backwards = written(tmp_path, *({"prompt": f"p{number}"} for number in reversed(range(200))), name="b.jsonl")
    shuffled = read(numbered, shuffle_seed=7)
    assert texts(shuffled) == texts(read(backwards, shuffle_seed=7))
    assert shuffled == sorted(shuffled, key=lambda row: hashlib.sha256(f"7/{row['prompt_id']}".encode()).hexdigest())


def test_held_out_prompts_are_the_same_beside_other_rows_and_never_in_train(numbered: str, tmp_path: Path) -> None:
    held_out = texts(read(numbered, held_out=0.2, take="held_out"))
    assert sorted(held_out + texts(read(numbered, held_out=0.2))) == sorted(f"p{number}" for number in range(200))
    assert 20 <= len(held_out) <= 60
    fewer = written(tmp_path, *({"prompt": f"p{number}"} for number in reversed(range(50))), name="b.jsonl")
    assert set(texts(read(fewer, held_out=0.2, take="held_out"))) == {text for text in held_out if int(text[1:]) < 50}
    assert set(held_out) < set(texts(read(numbered, held_out=0.5, take="held_out")))


def test_options_that_leave_no_prompt_are_named(numbered: str) -> None:
    assert "offset = 500" in fault(numbered, offset=500)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", '[{"prompt": "a"}, {"prompt": "b"}]'),
        ("x.json", '{"version": 1, "data": [\n{"prompt": "a"}, {"prompt": "b"}]}'),
        ("x.json", '{"prompt": "a"}\n{"prompt": "b"}\n'),
        ("x.jsonl", '\ufeff{"prompt": "a"}\r\n\r\n{"prompt": "b", "score": NaN}'),
        ("x.ndjson", '{"prompt": "a"}\n{"prompt": "b"}'),
        ("x.csv", "\ufeffprompt,n\na,1\n\nb,2\n"),
    ],
)
@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
def test_each_kind_of_file_is_read_also_compressed(name: str, content: str, compression: str, tmp_path: Path) -> None:
    path = tmp_path / (name + compression)
    with pa.output_stream(str(path)) as file:
        file.write(content.encode())
    assert texts(read(path)) == ["a", "b"]


@given(st.lists(st.text().filter(lambda text: bool(text.strip())), min_size=1, unique=True))
@settings(max_examples=15, deadline=None)
def test_any_text_comes_back_unchanged(prompts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = read(written(Path(folder), *({"prompt": text} for text in prompts)))
    assert texts(rows) == prompts


@pytest.mark.parametrize(
    "text", ["😀", "\u05e9\u05dc\u05d5\u05dd \u202eabc", "x" * 1_500_000, "a\0b", 'quote " comma, \r\n line'], ids=["emoji", "rtl", "long", "nul", "csv"]
)
def test_unusual_texts_come_back_unchanged_from_every_kind(text: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": [text]}), tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_bytes(('prompt,answer\n"' + text.replace('"', '""') + '",yes\n').encode())
    written(tmp_path, {"prompt": text})
    (row,) = read(tmp_path)
    assert (row["messages"][0]["content"], row["count"]) == (text, 3)


BAD_FILES: list[tuple[str, bytes, list[str]]] = [
    ("x.jsonl", b"", ["no rows"]),
    ("x.json", b"", ["no rows"]),
    ("x.json", b"[]", ["no rows"]),
    ("x.csv", b"prompt\n", ["no rows"]),
    ("x.txt", b"hi", [".txt", ".jsonl"]),
    ("x.jsonl", b'{"prompt": "a"}\n\n{"prompt": \n{"prompt": ', ["x.jsonl, line 3: not JSON: Expecting value at column", "2 of 3 rows are broken"]),
    ("x.jsonl", '{"prompt": "a"}\n{"prompt": "b"}\n'.encode("utf-16"), ["x.jsonl: UTF-16, not UTF-8"]),
    ("x.jsonl", b'{\n "prompt": "a"\n}\n', ["x.jsonl, line 1: not JSON", "3 of 3 rows are broken"]),
    ("x.jsonl", b'{"prompt": "\\ud800"}\n', ["x.jsonl, line 1", "lone surrogate \\ud800"]),
    ("x.jsonl", b"[1]\n", ["x.jsonl, line 1", "a list, not an object"]),
    ("x.json", b'[{"prompt": "a"},\n oops]', ["x.json", "line 2", "oops"]),
    ("x.json", b'[{"prompt": "a"},\n {"prompt": "\xff"}]', ["x.json", "not UTF-8"]),
    ("x.json", b'{"a": [], "b": []}', ["2 lists (a, b)"]),
    ("x.json", b"[4, 3]", ["row 1", "4 (a number), not an object"]),
    ("x.csv", b"prompt,answer\nd\n", ["x.csv, line 2", "1 values for 2 columns (prompt, answer)"]),
    ("x.csv", b'prompt\na\n"b\n', ["x.csv, line 3", "not CSV"]),
    ("x.csv", b"prompt\na\n\xe9\n\xe8\n", ["x.csv, line 3: not UTF-8: byte 0xe9", "2 of 3 rows are broken"]),
    ("x.csv", "prompt\na\n".encode("utf-16"), ["x.csv: UTF-16, not UTF-8"]),
    ("x.csv", b"prompt,prompt\na,b\n", ["two columns are called 'prompt'"]),
    ("x.jsonl.gz", b"plain", ["x.jsonl.gz", "cannot be read"]),
    ("x.jsonl.gz", gzip.compress(os.urandom(4000))[:2000], ["x.jsonl.gz", "Truncated"]),
    ("x.parquet", b"PAR1 and then nothing", ["x.parquet", "not a whole Parquet file"]),
]


@pytest.mark.parametrize(("name", "content", "words"), BAD_FILES)
def test_a_bad_file_is_one_line_that_says_where_and_what(name: str, content: bytes, words: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    message = fault(tmp_path / name)
    assert [word for word in words if word not in message] == [], message


BAD_ROWS: list[tuple[object, list[str]]] = [
    ({"prompt": " \n"}, ["prompt is empty"]),
    ({"prompt": 3}, ["prompt is 3 (a number), not text"]),
    ({"prompt": None}, ["prompt is null"]),
    ({"prompt": "a", "answer": True}, ["answer is true (a boolean)"]),
    ({"prompt": []}, ["prompt has no messages"]),
    ({"prompt": [USER, YO]}, ["role 'assistant', not user or tool"]),
    ({"prompt": "a", "answer": [USER, YO]}, ["answer has the roles user, assistant"]),
    ({"messages": []}, ["messages has no messages"]),
    ({"messages": "hi"}, ["messages is text ('hi'), not a list"]),
    ({"messages": [USER, {"role": "assistant", "content": None}]}, ["messages, message 2: content is null"]),
    ({"messages": [{"role": " ", "content": "a"}]}, ["message 1", "empty role"]),
    ({"messages": [{"text": "a"}]}, ["message 1", "keys text"]),
    ({"messages": ["a"]}, ["message 1", "text ('a')"]),
    ({"messages": [SYSTEM]}, ["role 'system'"]),
    ({"messages": [YO]}, ["no turn before the answer"]),
    ({"messages": [SYSTEM, USER], "system": "Other."}, ["column system"]),
    ({"instruction": "a", "input": 2}, ["input is 2"]),
    ({"chosen": "a", "rejected": "b"}, ["no prompt column"]),
    ({"prompt": "a", "chosen": None, "rejected": "b"}, ["chosen is null"]),
    ({"chosen": [USER, YO], "rejected": [SYSTEM, USER, NO]}, ["differ before their last turn (2 and 3 turns)"]),
    ({"chosen": [USER], "rejected": [USER]}, ["chosen ends with a turn of role 'user'"]),
]


@pytest.mark.parametrize(("row", "words"), BAD_ROWS)
def test_a_row_that_is_no_prompt_is_named_with_what_was_found(row: object, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(SchemaError) as caught:
        read(written(tmp_path, row))
    assert [word for word in ["x.jsonl, line 1", *words] if word not in str(caught.value)] == [], caught.value


def test_a_parquet_file_cut_in_half_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": [f"p{number}" for number in range(1000)]}), tmp_path / "x.parquet")
    whole = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(whole[: len(whole) // 2])
    assert "not a whole Parquet file" in fault(tmp_path / "x.parquet")


def test_bytes_that_are_no_text_in_parquet_are_named_by_row(tmp_path: Path) -> None:
    values = pa.array([b"a"] * 300 + [b"\xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"prompt": values}), tmp_path / "x.parquet")
    assert texts(read(tmp_path / "x.parquet")) == ["a"]
    assert "x.parquet, row 301: not UTF-8: byte 0xff" in fault(tmp_path / "x.parquet", strict=True)


def test_a_reference_that_only_later_rows_have_is_not_missed(tmp_path: Path) -> None:
    assert [row["reference"] for row in read(written(tmp_path, {"prompt": "a"}, {"prompt": "b", "answer": "c"}))] == [None, "c"]


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    path = written(tmp_path, {"q": "hi", "gold": "yo", "answer": "not this"})
    (row,) = read(path, columns=["prompt=q", "reference=gold"])
    assert said(row) == ([USER], "yo", None)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_column_that_is_not_there_is_answered_with_those_that_are(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    written(tmp_path, {"q": "hi", "gold": "yo"})
    pq.write_table(pa.table({"q": ["hi"], "gold": ["yo"]}), tmp_path / "x.parquet")
    assert "no column z; it has q, gold" in fault(path, columns=["prompt=z"])
    assert "no shape fits the columns q, gold" in fault(path)
    assert "question needs question" in fault(path, shape="question")


def test_columns_that_can_be_read_in_two_ways_are_not_guessed_at(tmp_path: Path) -> None:
    path = written(tmp_path, {"prompt": "hi", "question": "hm", "response": "yo", "answer": "no"})
    assert "fit the shapes question and prompt" in fault(path)
    assert "reference could be column response or answer" in fault(path, shape="prompt")
    (row,) = read(path, shape="prompt", columns=["reference=answer"])
    assert row["reference"] == "no"


@pytest.mark.parametrize("options", [{"columns": ["q"]}, {"columns": ["nothing=q"]}, {"take": "held_out"}, {"limit": 0}, {"held_out": 1.0}, {"splitt": "x"}])
def test_options_that_mean_nothing_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Source.model_validate(options)


def test_identity_follows_names_and_contents_not_the_place(tmp_path: Path) -> None:
    def identity(path: Path) -> str:
        return open_source(str(path), Source()).identity

    for folder in ("a", "b"):
        written(tmp_path, {"prompt": "hi"}, name=f"{folder}/x.jsonl")
        written(tmp_path, {"prompt": "ho"}, name=f"{folder}/y.jsonl")
        (tmp_path / folder / "README.md").write_text(folder)
    before = identity(tmp_path / "a")
    assert before.startswith("file:")
    assert before == identity(tmp_path / "b")
    (tmp_path / "b" / "y.jsonl").rename(tmp_path / "b" / "z.jsonl")
    assert before != identity(tmp_path / "b")
    written(tmp_path, {"prompt": "ha"}, name="a/y.jsonl")
    assert before != identity(tmp_path / "a")


def test_a_file_that_changes_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {"prompt": "hi"})
    opened = open_source(path, Source())
    written(tmp_path, {"prompt": "hello"})
    with pytest.raises(DatasetError, match="changed while it was read"):
        list(opened.batches())


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    assert f"no such file or folder: {tmp_path}/gone" in fault(tmp_path / "gone")
    assert "no such file or folder: data/gone.jsonl" in fault("data/gone.jsonl")
    (tmp_path / "empty").mkdir()
    assert "no file of a known kind" in fault(tmp_path / "empty")
    assert "org/name/deeper" in fault("hf://datasets/org/name/deeper")


def test_hub_options_do_not_go_with_a_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"source\.revision is for datasets on the Hub"):
        read(written(tmp_path, {"prompt": "hi"}), revision="v1")


HUB_CLIENT = """
import json, sys
import sgpo_data.hub.client
from sgpo_data.errors import SgpoError
from sgpo_data.sources.options import Source
from sgpo_data.sources.source import open_source
sgpo_data.hub.client.PAUSE_SECONDS = 0
for reference, options in json.loads(sys.argv[1]):
    try:
        opened = open_source(reference, Source(**options))
        found = {"identity": opened.identity, "rows": [row for batch in opened.batches() for row in batch.to_pylist()]}
    except SgpoError as error:
        found = {"kind": type(error).__name__, "code": error.exit_code, "message": str(error)}
    print(json.dumps(found))
"""
README = b"---\nconfigs:\n- config_name: a\n  data_files: a.jsonl\n- config_name: b\n  data_files:\n  - split: test\n    path: b.jsonl\n---\n"


@dataclass(frozen=True)
class Client:
    hub: Hub
    folder: Path

    def found(self, *asked: tuple[str, dict[str, object]], **environment: str) -> Iterator[dict[str, object]]:
        environment = {**os.environ, "HF_ENDPOINT": self.hub.url, "HF_HOME": str(self.folder / "cache"), "HF_HUB_DISABLE_XET": "1"} | environment
        environment |= {"NO_PROXY": "127.0.0.1,localhost", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        ran = subprocess.run([sys.executable, "-c", HUB_CLIENT, json.dumps(asked)], env=environment, cwd=self.folder, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return map(json.loads, ran.stdout.splitlines())


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    pytest.importorskip("datasets")
    with hub_server(tmp_path / "hub") as hub:
        yield Client(hub, tmp_path)


def test_a_hub_dataset_is_read_at_the_commit_of_its_revision(client: Client) -> None:
    old = client.hub.repositories.commit_files("org/name", {"train.jsonl": b'{"prompt": "old"}\n'}, branch="feature/x")
    new = client.hub.repositories.commit_files(
        "org/name", {"README.md": README, "a.jsonl": b'{"prompt": "hi", "answer": "yo"}\n', "b.jsonl": b'{"question": "b"}\n'}
    )
    a, b, branch, commit = client.found(
        ("org/name", {"config": "a"}),
        ("org/name", {"config": "b", "split": "test"}),
        ("hf://datasets/org/name@feature%2Fx", {}),
        ("org/name", {"revision": old}),
    )
    assert a["identity"] == f"hub:org/name@{new}/a/train"
    message = {"role": "user", "content": "hi"}
    row = {"prompt_id": prompt_id([Message(role="user", content="hi")]), "messages": [message], "reference": "yo", "rejected": None}
    assert a["rows"] == [{**row, "source": "org/name", "count": 1, "duplicate_of": None, "contaminated_by": None, "sample": 0}]
    assert b["identity"] == f"hub:org/name@{new}/b/test"
    assert branch == commit
    assert branch["identity"] == f"hub:org/name@{old}/default/train"
    assert '"old"' in json.dumps(branch["rows"])


def test_labels_of_a_hub_dataset_are_read_whatever_their_type(client: Client) -> None:
    whole = pa.table({"prompt": ["hi", "ho", "ha"], "completion": ["yo", "no", "hey"], "label": pa.array([True, False, None])})
    packed = io.BytesIO()
    pq.write_table(whole, packed)
    client.hub.repositories.commit_files("org/kto", {"data/train-00000-of-00001.parquet": packed.getvalue()})
    rows = [{"prompt": [USER], "completion": [YO], "label": 1}, {"prompt": [USER], "completion": [NO], "label": 0}]
    client.hub.repositories.commit_files("org/turns", {"train.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()})
    client.hub.repositories.commit_files("org/csv", {"train.csv": b"prompt,completion,label\nhi,yo,True\nho,no,False\n"})
    client.hub.repositories.commit_files("org/odd", {"train.jsonl": b'{"prompt": "hi", "completion": "yo", "label": 2}\n'})
    flat, turns, table, odd = client.found(("org/kto", {}), ("org/turns", {}), ("org/csv", {}), ("org/odd", {}))
    assert [(row["reference"], row["rejected"]) for row in flat["rows"]] == [("yo", None), (None, "no"), ("hey", None)]  # type: ignore[attr-defined]
    assert [(row["reference"], row["rejected"]) for row in turns["rows"]] == [("yo", None), (None, "no")]  # type: ignore[attr-defined]
    assert [(row["reference"], row["rejected"]) for row in table["rows"]] == [("yo", None), (None, "no")]  # type: ignore[attr-defined]
    assert str(odd["message"]).startswith("org/odd, row 1: label is 2 (a number), not true or false")


def test_an_evaluation_set_on_the_hub_is_read_at_its_commit(client: Client) -> None:
    commit = client.hub.repositories.commit_files(
        "org/evals", {"README.md": README, "a.jsonl": b'{"prompt": "hi"}\n', "b.jsonl": b'{"question": "Who wrote Emma?"}\n'}
    )
    local = written(client.folder, {"prompt": "who wrote Emma"}, {"prompt": "hi"})
    marked, pinned, wrong = client.found(
        (local, {"decontaminate": ["org/evals?config=b&split=test"]}),
        (local, {"decontaminate": [f"hf://datasets/org/evals@{commit}?config=b&split=test&name=emma"]}),
        (local, {"decontaminate": ["org/evals?config=b"]}),
    )
    assert [row["contaminated_by"] for row in marked["rows"]] == ["org/evals", None]  # type: ignore[attr-defined]
    assert [row["contaminated_by"] for row in pinned["rows"]] == ["emma", None]  # type: ignore[attr-defined]
    assert "evaluation set org/evals: org/evals: no split 'train'; set source.split to one of test (its options go behind it" in str(wrong["message"])


def test_what_a_hub_dataset_does_not_have_is_answered_with_what_it_has(client: Client) -> None:
    client.hub.repositories.commit_files("org/name", {"README.md": README, "a.jsonl": b'{"q": "hi"}\n', "b.jsonl": b'{"q": "b"}\n'})
    client.hub.repositories.commit_files("org/empty", {"README.md": b"nothing"})
    client.hub.repositories.commit_files("org/hidden", {"train.jsonl": b'{"prompt": "hi"}\n'})
    written(client.folder, {"prompt": "local"}, name="org/hidden/x.jsonl")
    cases: list[tuple[str, dict[str, object], str]] = [
        ("org/gone", {}, "no such dataset on the Hub, or no access to it; if it is private, run: hf auth login; and there is no local path org/gone"),
        ("org/name", {"revision": "v9"}, "no revision v9"),
        ("org/name", {}, "several configs; set source.config to one of a, b"),
        ("org/name", {"config": "c"}, "no config 'c'; set source.config to one of a, b"),
        ("org/name", {"config": "b"}, "no split 'train'; set source.split to one of test"),
        ("org/name", {"config": "a"}, "org/name, row 1: no shape fits the columns q"),
        ("org/empty", {}, "no data files"),
        ("hf://datasets/org/hidden", {}, "hides the Hub dataset"),
    ]
    found = client.found(*((reference, options) for reference, options, _ in cases))
    for (_, _, words), answer in zip(cases, found, strict=True):
        assert (answer["kind"], answer["code"]) == ("OddRowError" if "no shape fits" in words else "DatasetError", 1)
        assert words in str(answer["message"])


def test_a_failing_or_unreachable_hub_is_worth_trying_again(client: Client) -> None:
    client.hub.faults.add(Fault("status"))
    (failing,) = client.found(("org/name", {}))
    (refused,) = client.found(("org/name", {}), HF_ENDPOINT="http://127.0.0.1:9")
    (offline,) = client.found(("org/name", {}), HF_HUB_OFFLINE="1")
    assert [answer["kind"] for answer in (failing, refused, offline)] == ["HubError"] * 3
    assert [answer["code"] for answer in (failing, refused, offline)] == [4] * 3
    assert all("there is no local path org/name" in str(answer["message"]) for answer in (failing, refused, offline))


def test_a_subfolder_that_may_not_be_listed_is_refused_and_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("open", "shut", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").write_text('{"prompt": "Say 1."}\n')
    listed = os.scandir

    def scandir(path: str) -> object:
        # Permissions do not hold for root, whom tests may run as.
        if Path(path).name in ("shut", ".hidden"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DatasetError, match=r"shut: may not be listed \(Permission denied\); change its permissions"):
        raw_files(tmp_path)
    (tmp_path / "shut").rename(tmp_path / "unshut")
    assert [file.name for file in raw_files(tmp_path).files] == ["open/a.jsonl", "unshut/a.jsonl"]
