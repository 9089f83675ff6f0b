"""The answers that people compare: two models' to the same prompts, or the two texts of a row, from datasets or official answer files."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sgpo_data.errors import DatasetError, SchemaError, UsageError
from sgpo_data.evaluation.official_answers import official_answers
from sgpo_data.paths import local_path
from sgpo_data.references.dataset import existing, find_dataset
from sgpo_data.rows import Message, Row
from sgpo_data.sources.source import prompt_id
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.input import input_of
from sgpo_data.store.manifest import InputRecord

Key = tuple[str, int]
"""prompt_id and sample."""


@dataclass(frozen=True)
class AnswerPair:
    """Two whole answers to one prompt that are not the same."""

    key: Key
    messages: tuple[Message, ...]
    a: str
    b: str
    group: str | None
    """kept or dropped, where the rows are filtered."""


@dataclass(frozen=True)
class AnswerPairs:
    """All there is to compare, and what there is not."""

    a: str
    """What wrote the answers `a`."""
    b: str
    inputs: tuple[InputRecord, ...]
    pairs: tuple[AnswerPair, ...]
    left_out: Mapping[str, int]
    """Prompts by the reason."""


@dataclass(frozen=True)
class AnswerTexts:
    """What one model answers."""

    name: str
    """Of the model."""
    record: InputRecord
    texts: Mapping[Key, tuple[tuple[Message, ...], str | None]]


def answer_pairs(references: tuple[str, ...], root: Path) -> AnswerPairs:
    """The pairs of two references, each a dataset with responses or an official answer file; of one dataset, improved against response.

    Raises DatasetError or SchemaError if one of them is missing or has no answers, UsageError if they name no comparison.
    """
    if len(references) == 1:
        return _rewritten(existing(references[0], root), references[0])
    if len(references) != 2:
        raise UsageError(f"answers: two of them are compared, or the rows of one dataset (got {len(references)})")
    a, b = (answers_of(reference, root) for reference in references)
    shared = [key for key in a.texts if key in b.texts]
    if not shared:
        raise DatasetError(f"{references[0]}, {references[1]}: no prompt is in both; give two models' answers to the same prompts")
    left_out = Counter({"in one of them alone": len(a.texts) + len(b.texts) - 2 * len(shared)})
    found = []
    for key in shared:
        (messages, text), (_, other) = a.texts[key], b.texts[key]
        reason = _not_comparable(text, other)
        if reason is None and text is not None and other is not None:
            found.append(AnswerPair(key, messages, text, other, None))
        else:
            left_out[str(reason)] += 1
    names = (a.name, b.name) if a.name != b.name else references
    return AnswerPairs(names[0], names[1], (a.record, b.record), tuple(found), +left_out)


def _not_comparable(a: str | None, b: str | None) -> str | None:
    """Why these two answers cannot be compared; None if they can."""
    if not a or not b or not a.strip() or not b.strip():
        return "without an answer"
    return "with equal answers" if a.split() == b.split() else None


def _rewritten(dataset: Dataset, reference: str) -> AnswerPairs:
    if dataset.table not in ("improved", "scored", "filtered"):
        raise SchemaError(f"{reference}: holds {dataset.table}; of one dataset improved is compared with response; give improved, scored or filtered")
    left_out: Counter[str] = Counter()
    found = []
    for row in dataset.rows():
        response, improved = row["response"], row["improved"]
        reason = _not_comparable(improved, response)
        if reason is None and response is not None and improved is not None:
            group = None if dataset.table != "filtered" else _group(row)
            found.append(AnswerPair((row["prompt_id"], row["sample"]), tuple(row["messages"]), improved, response, group))
        else:
            left_out[str(reason)] += 1
    return AnswerPairs("improved", "response", (input_of(dataset, reference).record,), tuple(found), left_out)


def _group(row: Row) -> str:
    # What Row declares ends with `scored`.
    return "kept" if row.get("dropped_by") is None else "dropped"


def answers_of(reference: str, root: Path) -> AnswerTexts:
    """The answers of a dataset with responses, or of an official answer file.

    Raises DatasetError or SchemaError if there are none.
    """
    path = local_path(reference)
    if path.is_file():
        return _official(path, reference)
    dataset = find_dataset(reference, root)
    if dataset is None:
        raise DatasetError(f"{reference}: no such dataset or answer file; give responses, or a file of AlpacaEval, Arena-Hard or IFEval")
    if dataset.table not in ("responses", "improved", "scored", "filtered"):
        raise SchemaError(f"{reference}: holds {dataset.table}, in which no model answers; give responses")
    texts, policies = {}, set()
    for row in dataset.rows():
        texts[row["prompt_id"], row["sample"]] = (tuple(row["messages"]), row["response"])
        policies.add(row["policy"])
    return AnswerTexts(policies.pop() if len(policies) == 1 else reference, input_of(dataset, reference).record, texts)


def _official(path: Path, reference: str) -> AnswerTexts:
    found = official_answers(path, reference)
    texts: dict[Key, tuple[tuple[Message, ...], str | None]] = {}
    samples: Counter[str] = Counter()
    for each in found.answers:
        prompt = prompt_id(each.messages)
        texts[prompt, samples[prompt]] = (tuple(each.messages), each.text)
        samples[prompt] += 1
    return AnswerTexts(found.name, InputRecord(reference=reference, table=None, fingerprint=f"file:{found.digest}"), texts)
