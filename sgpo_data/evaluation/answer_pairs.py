"""The answers that people compare: two models' to the same prompts, or the two texts of a row, from datasets or official answer files."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sgpo_data.errors import DatasetError, SchemaError, UsageError
from sgpo_data.evaluation.recorded import Key, RecordedAnswer, recorded, rewritten
from sgpo_data.references.dataset import existing
from sgpo_data.rows import Message
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.manifest import InputRecord


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


def answer_pairs(references: tuple[str, ...], root: Path) -> AnswerPairs:
    """The pairs of two references, each a dataset with responses or an official answer file; of one dataset, improved against response.

    Raises DatasetError or SchemaError if one of them is missing or has no answers, UsageError if they name no comparison.
    """
    if len(references) == 1:
        return _rewritten(existing(references[0], root), references[0])
    if len(references) != 2:
        raise UsageError(f"answers: two of them are compared, or the rows of one dataset (got {len(references)})")
    a, b = (recorded(reference, root) for reference in references)
    found = _pairs(a.by_key, b.by_key, {})
    if not any(key in b.by_key for key in a.by_key):
        raise DatasetError(f"{references[0]}, {references[1]}: no prompt is in both; give two models' answers to the same prompts")
    names = (a.name, b.name) if a.name != b.name else references
    return AnswerPairs(names[0], names[1], (a.record, b.record), *found)


def _rewritten(dataset: Dataset, reference: str) -> AnswerPairs:
    if dataset.table not in ("improved", "scored", "filtered"):
        raise SchemaError(f"{reference}: holds {dataset.table}; of one dataset improved is compared with response; give improved, scored or filtered")
    improved, response = rewritten(dataset, reference)
    return AnswerPairs(improved.name, response.name, (improved.record,), *_pairs(improved.by_key, response.by_key, _groups(dataset)))


def _pairs(a: Mapping[Key, RecordedAnswer], b: Mapping[Key, RecordedAnswer], groups: Mapping[Key, str]) -> tuple[tuple[AnswerPair, ...], Mapping[str, int]]:
    """What can be compared, and prompts that cannot by the reason."""
    shared = [key for key in a if key in b]
    left_out = Counter({"in one of them alone": len(a) + len(b) - 2 * len(shared)})
    found = []
    for key in shared:
        text, other = a[key].text, b[key].text
        if not text or not other or not text.strip() or not other.strip():
            left_out["without an answer"] += 1
        elif text.split() == other.split():
            left_out["with equal answers"] += 1
        else:
            found.append(AnswerPair(key, tuple(a[key].messages), text, other, groups.get(key)))
    return tuple(found), +left_out


def _groups(dataset: Dataset) -> dict[Key, str]:
    """Whether the filter keeps each row; empty before filtering."""
    if dataset.table != "filtered":
        return {}
    rows = dataset.scan().select("prompt_id", "sample", "dropped_by").collect().iter_rows()
    return {(prompt, sample): "kept" if rule is None else "dropped" for prompt, sample, rule in rows}
