"""Votes that people saved from a review page, read and checked, and as rows of `evaluations`."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sgpo_data.errors import DatasetError, SchemaError
from sgpo_data.evaluation.answer_pairs import AnswerPairs
from sgpo_data.evaluation.review import Item, Review, review
from sgpo_data.execution import Execution
from sgpo_data.names import MadeName
from sgpo_data.schema import schema
from sgpo_data.store.at_once import write_all
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.manifest import Identity, InputRecord
from sgpo_data.store.resume import make
from sgpo_data.store.unfinished import StageSummary, Unfinished

PEOPLE = "people"
"""Stage of a dataset of votes, which nothing makes again."""
REVISION = 1
"""Raised when the same votes begin to give other rows."""
PART_ROWS = 131072
VERDICTS = {"first": ("first", 1.0), "equal": ("tie", 0.5), "second": ("second", 0.0)}
"""Verdict and score of the first answer, by vote."""


class _Saved(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Vote(_Saved):
    """What somebody said of one item."""

    item: str
    vote: Literal["first", "second", "equal"]
    seconds: float = Field(ge=0, allow_inf_nan=False)
    """From the moment the item was shown."""


class VoteFile(_Saved):
    """What a review page saves."""

    sgpo_votes: Literal[1]
    """Version of the form."""
    review: str
    """Digest of the review that was voted on."""
    items: int
    seed: int
    reviewer: str = Field(min_length=1, max_length=60)
    votes: list[Vote]


@dataclass(frozen=True)
class VotedReview:
    """A review with what several people said of it."""

    found: AnswerPairs
    review: Review
    files: tuple[VoteFile, ...]
    records: tuple[InputRecord, ...]
    """Of the vote files."""

    @property
    def people(self) -> tuple[str, ...]:
        """Their names, as rows have them."""
        return tuple(f"person:{file.reviewer}" for file in self.files)

    def votes(self) -> Iterator[tuple[str, Item, Vote]]:
        """All votes, person by person, in the order of the items."""
        for person, file in zip(self.people, self.files, strict=True):
            votes = {vote.item: vote for vote in file.votes}
            for item in self.review.items:
                if item.id in votes:
                    yield person, item, votes[item.id]


def read_votes(paths: Sequence[Path], found: AnswerPairs) -> VotedReview:
    """The votes of several people on one review of these answers.

    Raises DatasetError if a file cannot be read, belongs to a review of other answers, or repeats a person; SchemaError if it is no vote file.
    """
    read = [_read(path) for path in paths]
    files = tuple(sorted((file for file, _ in read), key=lambda file: file.reviewer))
    shown = review(found, items=files[0].items, seed=files[0].seed)
    known = {item.id for item in shown.items}
    for path, (file, _) in zip(paths, read, strict=True):
        if file.review != shown.digest:
            raise DatasetError(f"{path}: votes of another review ({file.review[:8]}, these answers make {shown.digest[:8]}); give the answers of its page")
        items = [vote.item for vote in file.votes]
        strange = next((item for item in items if item not in known), None)
        if strange is not None or len(set(items)) < len(items):
            raise DatasetError(f"{path}: {f'item {strange} is not in the review' if strange else 'votes twice on an item'}; save the votes again")
        if sum(file.reviewer.casefold() == each.reviewer.casefold() for each in files) > 1:
            raise DatasetError(f"{path}: {file.reviewer} is in several files; give one file for each person, and each person a name")
    return VotedReview(found, shown, files, tuple(record for _, record in read))


def _read(path: Path) -> tuple[VoteFile, InputRecord]:
    try:
        content = path.read_bytes()
        file = VoteFile.model_validate_json(content)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValidationError as error:
        fault = error.errors()[0]
        raise SchemaError(f"{path}: not what a review page saves ({'.'.join(map(str, fault['loc']))}: {fault['msg']}); give its file") from error
    if not file.reviewer.strip().isprintable():
        raise SchemaError(f"{path}: reviewer is no name that can be shown; write it in the file as text")
    return file, InputRecord(reference=str(path), table=None, fingerprint=f"file:{hashlib.sha256(content).hexdigest()}")


def evaluations(voted: VotedReview, execution: Execution, folder: Path | None = None) -> Dataset:
    """The votes as a dataset of `evaluations`, in the store unless a folder is given; made once."""
    inputs = (*voted.found.inputs, *voted.records)
    fields = {"a": voted.found.a, "b": voted.found.b, "review": voted.review.digest}
    identity = Identity(stage=PEOPLE, revision=REVISION, schema_version=schema("evaluations").version, fields=fields, inputs=inputs, models={})

    def work(into: Unfinished) -> StageSummary:
        rows = list(_rows(voted))
        write_all(into, pa.Table.from_pylist(rows, schema=schema("evaluations").arrow).to_reader())
        return StageSummary(rows_in=len(rows), outcome="verdict")

    place = folder or execution.store / str(MadeName.made("evaluations", identity.fingerprint))
    return make(place, identity, table="evaluations", part_rows=PART_ROWS, work=work)


def _rows(voted: VotedReview) -> Iterator[dict[str, object]]:
    for person, item, vote in voted.votes():
        verdict, score = VERDICTS[vote.vote]
        names = (voted.found.a, voted.found.b) if item.a_is_first else (voted.found.b, voted.found.a)
        prompt, sample = item.pair.key
        yield {
            "prompt_id": prompt,
            "sample": 2 * sample + (not item.a_is_first),
            "messages": item.messages,
            "question": item.id,
            "category": item.pair.group,
            "first": names[0],
            "second": names[1],
            "first_answer": item.answers[0],
            "second_answer": item.answers[1],
            "judge": person,
            "judgement": vote.vote,
            "judgement_finish": "stop",
            "first_probability": None,
            "label_probability": None,
            "verdict": verdict,
            "first_score": score,
        }
