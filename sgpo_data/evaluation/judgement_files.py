"""Verdicts as the files of AlpacaEval and Arena-Hard, which the official tools read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
from pydantic import JsonValue

from sgpo_data.evaluation.judge.prompt import JudgePrompt
from sgpo_data.evaluation.judge.stage import Comparison
from sgpo_data.evaluation.judge.verdict import Verdict
from sgpo_data.evaluation.judging import Judged
from sgpo_data.evaluation.results import comparison_key
from sgpo_data.rows import Message
from sgpo_data.store.files import write_text

ARROWS: Mapping[Verdict, str] = {"first_much": "A>>B", "first": "A>B", "tie": "A=B", "second": "B>A", "second_much": "B>>A"}


def write_alpaca_eval(judged: Judged, path: Path) -> Path:
    """Annotations of AlpacaEval: one per comparison, preference from 1 (the baseline) to 2 (the model), the mean of both orders; null without both."""
    rows = [_annotation(both, judged) for both in _pairs(judged)]
    return _written(path, orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")


def write_arena_hard(judged: Judged, folder: Path) -> Path:
    """`<folder>/<judge>/<model>.jsonl`: the model_judgment file of Arena-Hard, of its two games the first with the baseline first."""
    results = judged.results
    judge = results.judge.rpartition(":")[2].rpartition("/")[2]
    rows = [_games(both, judged, judge) for both in _pairs(judged)]
    return _written(folder / judge / f"{results.model.replace('/', '__')}.jsonl", "".join(orjson.dumps(row).decode() + "\n" for row in rows))


def _pairs(judged: Judged) -> list[tuple[Comparison, Comparison]]:
    """Both orders of each comparison, that with the model first before the other, in the order of the dataset."""
    orders: dict[tuple[str, int], list[Comparison]] = {}
    for row in judged.rows:
        orders.setdefault(comparison_key(row), []).append(row)
    sorted_pairs = [sorted(both, key=lambda row: row["first"] != judged.results.model) for both in orders.values()]
    return [(both[0], both[1]) for both in sorted_pairs if len(both) == 2]


def _annotation(both: tuple[Comparison, Comparison], judged: Judged) -> dict[str, JsonValue]:
    ours, theirs = both
    first, second = ours["first_score"], theirs["first_score"]
    category: Mapping[str, JsonValue] = {} if ours["category"] is None else {"dataset": ours["category"]}
    return {
        **category,
        "instruction": _asked(ours["messages"]),
        "output_1": ours["second_answer"],
        "generator_1": judged.results.baseline,
        "output_2": ours["first_answer"],
        "generator_2": judged.results.model,
        "annotator": judged.results.judge,
        "preference": None if first is None or second is None else 1 + (first + (1 - second)) / 2,
        "raw_completion": [ours["judgement"], theirs["judgement"]],
    }


def _games(both: tuple[Comparison, Comparison], judged: Judged, judge: str) -> dict[str, JsonValue]:
    ours, theirs = both
    return {
        "uid": ours["question"],
        "category": ours["category"],
        "judge": judge,
        "model": judged.results.model,
        "baseline": judged.results.baseline,
        "games": [_game(theirs, judged), _game(ours, judged)],
    }


def _game(row: Comparison, judged: Judged) -> dict[str, JsonValue]:
    fields = judged.dataset.manifest.identity.fields
    text = fields.get("prompt") if isinstance(fields, dict) else None
    shown: list[Message] = []
    if isinstance(text, str):
        shown = JudgePrompt("recorded", text).render(row["messages"], first_answer=row["first_answer"], second_answer=row["second_answer"])
    prompt: list[JsonValue] = [{"role": turn["role"], "content": turn["content"]} for turn in shown]
    verdict = row["verdict"]
    return {"score": None if verdict is None else ARROWS[verdict], "judgment": {"answer": row["judgement"]}, "prompt": prompt}


def _asked(messages: Sequence[Message]) -> str:
    """The instruction, as AlpacaEval has it: one turn."""
    return messages[0]["content"] if len(messages) == 1 else "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in messages)


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path
