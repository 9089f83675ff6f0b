"""Answers as the official files of their set, which the official tools read."""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson
from pydantic import JsonValue

from sgpo_data.errors import DatasetError
from sgpo_data.evaluation.answers import Answers, AnswerTurn
from sgpo_data.evaluation.sets import Layout, Question
from sgpo_data.names import split_revision
from sgpo_data.references.model import Model
from sgpo_data.store.files import write_text

_CODE = re.compile(r"```([^`]*)```")


def generator_name(model: Model) -> str:
    """What a model is called in the files unless it is given a name: the last part of where it was found."""
    place = model.record.place
    parts = (place.base,) if place.adapter is None else (place.base, place.adapter)
    names = [split_revision(part.removeprefix("openai:"))[0] if not Path(part).is_dir() else part for part in parts]
    return "+".join(name.rstrip("/").rpartition("/")[2] for name in names)


def write_answers(answers: Answers, path: Path, *, generator: str, is_folder: bool = False) -> Path:
    """The file of these answers: `path`, or `<generator>.json` or `.jsonl` in it where it is a folder or is to be one; the same bytes for the same answers.

    Raises DatasetError if other answers stand there, or the disk does not take it.
    """
    layout = answers.questions.layout
    suffix = ".json" if layout == "alpaca_eval" else ".jsonl"
    file = path / f"{generator.replace('/', '__')}{suffix}" if is_folder or path.is_dir() else path
    rows = [_ROWS[layout](question, turns, answers, generator) for question, turns in zip(answers.questions.questions, answers.turns, strict=True)]
    text = orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n" if suffix == ".json" else "".join(orjson.dumps(row).decode() + "\n" for row in rows)
    if file.exists():
        if file.is_file() and file.read_bytes() == text.encode():
            return file
        raise DatasetError(f"-o {file}: other answers are there; give another -o, or remove them")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)
    return file


def style(answer: str) -> dict[str, JsonValue]:
    """Headers, lists and bold words of an answer, its code left out, as Arena-Hard counts them.

    lmarena/arena-hard-auto@3bab294, utils/add_markdown_info.py
    """
    text = _CODE.sub("", answer)

    def count(pattern: str) -> int:
        return len(re.findall(pattern, text, flags=re.MULTILINE))

    return {
        "header_count": {f"h{level}": count(rf"^#{{{level}}}\s") for level in range(1, 7)},
        "list_count": {"ordered": count(r"^\s*\d+\.\s"), "unordered": count(r"^\s*[-*+]\s")},
        "bold_count": {"**": count(r"\*\*[^*\n]+\*\*"), "__": count(r"__[^_\n]+__")},
    }


def _alpaca_eval(question: Question, turns: tuple[AnswerTurn, ...], answers: Answers, generator: str) -> dict[str, JsonValue]:
    told: Mapping[str, JsonValue] = {"dataset": question.row["dataset"]} if "dataset" in question.row else {}
    return {**told, "instruction": question.turns[0], "output": turns[0].text or "", "generator": generator}


def _arena_hard(question: Question, turns: tuple[AnswerTurn, ...], answers: Answers, generator: str) -> dict[str, JsonValue]:
    text = turns[0].text or ""
    # The official count is that of another model's tokenizer, which is fetched from its maker.
    tokens = turns[0].tokens or len(text.split())
    return {
        "uid": question.row["uid"],
        "ans_id": _answer_id(question, answers),
        "model": generator,
        "messages": [{"role": "user", "content": question.turns[0]}, {"role": "assistant", "content": {"answer": text}}],
        "tstamp": answers.created.timestamp(),
        "metadata": {"token_len": tokens, **style(text)},
    }


def _ifeval(question: Question, turns: tuple[AnswerTurn, ...], answers: Answers, generator: str) -> dict[str, JsonValue]:
    return {"prompt": question.turns[0], "response": turns[0].text or ""}


def _mt_bench(question: Question, turns: tuple[AnswerTurn, ...], answers: Answers, generator: str) -> dict[str, JsonValue]:
    return {
        "question_id": question.row["question_id"],
        "answer_id": _answer_id(question, answers),
        "model_id": generator,
        "choices": [{"index": 0, "turns": [turn.text or "" for turn in turns]}],
        "tstamp": answers.created.timestamp(),
    }


_ROWS: Mapping[Layout, Callable[[Question, tuple[AnswerTurn, ...], Answers, str], dict[str, JsonValue]]] = {
    "alpaca_eval": _alpaca_eval,
    "arena_hard": _arena_hard,
    "ifeval": _ifeval,
    "mt_bench": _mt_bench,
}


def _answer_id(question: Question, answers: Answers) -> str:
    return hashlib.sha256(f"{answers.identity}/{question.id}".encode()).hexdigest()[:22]
