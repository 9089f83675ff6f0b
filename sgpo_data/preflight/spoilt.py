"""References and spoilt copies of them, as a table of rewrites that the ordinary stages score."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import pyarrow as pa

from sgpo_data.execution import Execution
from sgpo_data.names import MadeName
from sgpo_data.preflight.probes import PROBES
from sgpo_data.rows import Message, Row
from sgpo_data.schema import schema
from sgpo_data.sources.source import prompt_id
from sgpo_data.stages.improve.templates import load_template
from sgpo_data.store.at_once import write_all
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.input import JobInput, input_of
from sgpo_data.store.manifest import Identity
from sgpo_data.store.resume import make
from sgpo_data.store.unfinished import StageSummary, Unfinished

REVISION = 1
"""Raised when the same references are spoilt otherwise."""
AUTHOR = "preflight"
KINDS = ("reference", "shuffled", "truncated", "repeated", "foreign")
"""What the rewrite of a row is, by its sample: the reference, that of another prompt, half of it, it three times, or an answer to something else."""
PROBE = "preflight/"
"""Before the kind of a prompt unlike the recipe's, in column `source`."""
OUTCOME = "improved_finish"


@dataclass(frozen=True)
class Spoilt:
    """The table to be made of the responses of a sample."""

    responses: Dataset

    def made(self, execution: Execution) -> JobInput | None:
        """The table, made now unless it was made before; None if too few prompts have a reference to spoil."""
        rows = _with_reference(self.responses)
        if len(rows) < 2:
            return None
        given = input_of(self.responses, str(self.responses.folder))
        fields = {"kinds": list(KINDS), "probes": {kind: [list(each) for each in texts] for kind, texts in PROBES.items()}}
        identity = Identity(stage=AUTHOR, revision=REVISION, schema_version=schema("improved").version, fields=fields, inputs=(given.record,), models={})
        folder = execution.store / str(MadeName.made("improved", identity.fingerprint))
        work = partial(_write, rows, len(rows), self.responses)
        dataset = make(folder, identity, table="improved", part_rows=execution.part_rows, work=work)
        return input_of(dataset, str(folder))


def spoilt_texts(references: Sequence[str], position: int) -> Mapping[str, str]:
    """The reference at a position of its list, and what is made of it; the shuffled one is another text where there is one."""
    text = references[position]
    half = len(references) // 2
    turned = [references[(position + half + more) % len(references)] for more in range(len(references))]
    words = text.split()
    foreign = [answer for texts in PROBES.values() for _, answer in texts]
    return {
        "reference": text,
        "shuffled": next((other for other in turned if other != text), text),
        "truncated": " ".join(words[: (len(words) + 1) // 2]),
        "repeated": " ".join([text] * 3),
        "foreign": foreign[position % len(foreign)],
    }


def _with_reference(responses: Dataset) -> list[Row]:
    rows: dict[str, Row] = {}
    for row in responses.rows():
        if (row["reference"] or "").strip():
            rows.setdefault(row["prompt_id"], row)
    return list(rows.values())


def _write(rows: list[Row], rows_in: int, responses: Dataset, into: Unfinished) -> StageSummary:
    made = [*_spoilt(rows), *_probes(rows[0])]
    table = schema("improved").arrow
    batches = (pa.RecordBatch.from_pylist(part, schema=table) for part in _parts(made))
    write_all(into, pa.RecordBatchReader.from_batches(table, batches))
    return StageSummary(rows_in=rows_in, outcome=OUTCOME, origin=responses.manifest.origin)


def _parts(rows: list[Row]) -> Iterator[list[Row]]:
    waiting = iter(rows)
    while part := list(islice(waiting, 1024)):
        yield part


def _spoilt(rows: list[Row]) -> Iterator[Row]:
    references = [row["reference"] or "" for row in rows]
    for position, row in enumerate(rows):
        for sample, (_, text) in enumerate(spoilt_texts(references, position).items()):
            yield _row(row, sample, text, row["messages"])


def _probes(like: Row) -> Iterator[Row]:
    for kind, texts in PROBES.items():
        answers = [answer for _, answer in texts]
        for position, (prompt, answer) in enumerate(texts):
            messages = [Message(role="user", content=prompt)]
            base: Row = {**like, "prompt_id": prompt_id(messages), "messages": messages, "reference": answer, "source": PROBE + kind}
            base |= {"response": answer, "finish": "stop", "sampled_nll": None, "sampled_tokens": None, "policy": AUTHOR, "rejected": None}
            for sample, text in enumerate((answer, answers[position - 1])):
                yield _row(base, sample, text, messages)


def _row(row: Row, sample: int, text: str, messages: list[Message]) -> Row:
    return {
        **row,
        "sample": sample,
        "improved": text,
        "improved_finish": "stop",
        "improver": AUTHOR,
        # The gate against copies of the reference is for refined answers.
        "role": "improve",
        "improver_prompt": messages,
        "improve_template": load_template("improve").digest,
        "refine_template": None,
    }
