"""What is trained on, as token ids: cut out of the one rendering that is also scored, with every row that cannot be trained on counted."""

import logging
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import datasets  # type: ignore[import-untyped]

from sgpo_data.engines.chat import Chat, Rendering
from sgpo_data.errors import DatasetError
from sgpo_data.rows import Message
from sgpo_data.training.options import Objective
from sgpo_data.training.task import TrainingTask

log = logging.getLogger(__name__)

MOST_UNUSABLE = 0.05
"""Share of rows that a template may spoil before training is refused: then it is the template that has to be mended, and not the rows."""
REFUSED = "refused by the chat template, or without one of its turns in it"
ALTERED = "with an answer that the chat template cuts or changes"
UNKNOWN = "with characters in an answer that the tokenizer does not know"
EQUAL = "with chosen and rejected equal as tokens"
KEPT = "</think>"
"""Reasoning that a template leaves out of answers stays in; generation and scoring have it too."""


@dataclass(frozen=True)
class TokenRows:
    """The rows that are trained on."""

    data: datasets.Dataset
    """As TRL takes rows that are tokenized: prompt_ids, chosen_ids and rejected_ids, or input_ids and completion_mask."""
    lengths: list[list[int]]
    """Tokens of each text of each row, its prompt included."""
    left_out: int
    """Rows longer than the longest."""
    unusable: dict[str, int]
    """Rows that cannot be trained on, by reason."""


def token_rows(task: TrainingTask, chat: Chat) -> TokenRows:
    """The rows of a training, in their order.

    The loss is over the tokens of each answer and its end of turn: those that are sampled and scored, and no others.
    Raises DatasetError if no row is short enough, or if more than a few cannot be trained on.
    """
    objective = task.train.needs
    files = [str(path) for path in task.files]
    raw = datasets.Dataset.from_parquet(files, columns=["prompt", *objective.answers], cache_dir=str(task.work / "cache"))
    rows: list[dict[str, list[int]]] = []
    lengths: list[list[int]] = []
    too_long: list[int] = []
    unusable: Counter[str] = Counter()
    for row in raw:
        read = [_read(chat, row["prompt"], row[answer]) for answer in objective.answers]
        if reason := _fault(row, read, objective):
            unusable[reason] += 1
            continue
        whole = [each for each in read if each is not None]
        tokens = [len(each.prompt) + len(each.answer) for each in whole]
        if max(tokens) > task.longest:
            too_long.append(max(tokens))
            continue
        lengths.append(tokens)
        rows.append(_pair(*whole) if objective.compares else _example(*whole))
    _refuse(unusable, len(raw))
    if not rows:
        raise DatasetError(f"train: all {len(raw)} rows are longer than {task.longest} tokens, the shortest has {min(too_long)}; raise max_tokens")
    return TokenRows(datasets.Dataset.from_list(rows), lengths, len(too_long), dict(unusable))


def kept_rows(data: datasets.Dataset, folder: Path) -> datasets.Dataset:
    """The same rows, as files of this folder: what is computed of them beforehand is kept beside them, for every process that trains and after a kill."""
    if not folder.is_dir():
        aside = folder.with_name(f"{folder.name}.writing")
        shutil.rmtree(aside, ignore_errors=True)
        data.save_to_disk(str(aside))
        aside.rename(folder)
    return datasets.load_from_disk(str(folder))


def _read(chat: Chat, prompt: list[Message], answer: list[Message]) -> Rendering | None:
    *earlier, last = answer
    return chat.rendering([*prompt, *earlier], last["content"])


def _fault(row: dict[str, list[Message]], read: list[Rendering | None], objective: Objective) -> str | None:
    """Why a row cannot be trained on."""
    if None in read:
        return REFUSED
    if any(each is not None and each.altered and KEPT not in row[answer][-1]["content"] for answer, each in zip(objective.answers, read, strict=True)):
        return ALTERED
    if any(each is not None and each.unknown for each in read):
        return UNKNOWN
    answers = [each.answer for each in read if each is not None]
    return EQUAL if len(answers) == 2 and answers[0] == answers[1] else None


def _refuse(unusable: Counter[str], rows: int) -> None:
    count = sum(unusable.values())
    if not count:
        return
    listed = ", ".join(f"{number} {reason}" for reason, number in unusable.most_common())
    if count == rows or (count > 1 and count > MOST_UNUSABLE * rows):
        raise DatasetError(f"train: {count} of {rows} rows cannot be trained on: {listed}; leave such rows out, or mend chat_template.jinja")
    log.warning("train: %d of %d rows are left out: %s", count, rows, listed)


def _pair(chosen: Rendering, rejected: Rendering) -> dict[str, list[int]]:
    # A token may hold the end of the prompt and the beginning of one answer.
    shared = _common(chosen.prompt, rejected.prompt)
    return {
        "prompt_ids": chosen.prompt[:shared],
        "chosen_ids": [*chosen.prompt[shared:], *chosen.answer],
        "rejected_ids": [*rejected.prompt[shared:], *rejected.answer],
    }


def _example(read: Rendering) -> dict[str, list[int]]:
    return {"input_ids": [*read.prompt, *read.answer], "completion_mask": [0] * len(read.prompt) + [1] * len(read.answer)}


def _common(a: Iterable[int], b: Iterable[int]) -> int:
    """How many ids both begin with."""
    count = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        count += 1
    return count
